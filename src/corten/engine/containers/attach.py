"""`attach`, `logs`: the ways to a container's output and input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.earlystdin import EarlyStdin
from corten.engine.containers.state import Status
from corten.errors import Conflict, InvalidParameter, NotFound, NotSupported
from corten.logs.reader import LogReader, open_logs
from corten.logs.records import LogQuery
from corten.types.operations import Attachment, AttachOptions, LogsOptions, LogStream, Output
from corten.units import SECOND_NS
from corten.wire import detachkeys
from corten.wire.stdcopy import frame

_SHORT_S = 0.2  # what dockerd's start takes, and a little


def parse_detach_keys(text: str) -> bytes:
    """The bytes of `--detach-keys`. Raises InvalidParameter."""
    try:
        return detachkeys.parse(text)
    except ValueError as e:
        raise InvalidParameter(f"Invalid detach keys ({text}) provided: {e}") from e


async def attach(context: Context, container: Container, options: AttachOptions) -> Attachment:
    """Connect to the container's stdio, also before its start. Raises Conflict, InvalidParameter."""
    keys = parse_detach_keys(options.detach_keys)
    if container.status is Status.PAUSED:
        raise Conflict(f"container {container.name} is paused, unpause the container before attach")
    if container.status is Status.RESTARTING:
        raise Conflict(f"container {container.name} is restarting, wait until the container is running")
    config = container.record.config
    outputs: list[Output] = []
    stdin_fd: int | None = None
    if options.stream and (options.stdout or options.stderr):
        fd = await context.runtime.attach_output(container.id, stdout=options.stdout, stderr=options.stderr)
        outputs.append(Output(fd=fd))
    try:
        if options.stream and options.stdin and config.open_stdin:
            stdin_fd = await _stdin(context, container)
    except BaseException:
        for output in outputs:
            os.close(output.fd)
        raise
    context.publish(container, "attach")
    closes_stdin = config.stdin_once and not config.tty
    attachment = Attachment(
        tty=config.tty,
        outputs=outputs,
        stdin_fd=stdin_fd,
        detach_keys=keys if config.tty and stdin_fd is not None else b"",
        end_with_stdin=stdin_fd is not None and config.tty,
        on_detach=lambda: context.publish(container, "detach"),
    )
    if options.logs and container.log_path:
        query = LogQuery(stdout=options.stdout, stderr=options.stderr)
        attachment.history = _history(container, query)
    if stdin_fd is not None and closes_stdin and container.status.is_running():

        async def close_stdin() -> None:
            await context.runtime.close_stdin(container.id)

        attachment.on_stdin_end = close_stdin
    return attachment


async def _stdin(context: Context, container: Container) -> int | None:
    if container.status.is_running() and not container.starting:
        try:
            return await context.runtime.attach_stdin(container.id)
        except NotFound:
            return None  # it ended at this moment
    early = EarlyStdin()
    container.early_stdin.append(early)
    return early.write_fd


async def connect_early_stdin(context: Context, container: Container) -> None:
    """The container has been started: connect the clients that were there before."""
    waiting, container.early_stdin = container.early_stdin, []
    closes_stdin = container.record.config.stdin_once and not container.record.config.tty

    def on_end() -> None:
        if closes_stdin:
            context.background.start(_close_stdin(context, container.id), "close stdin")

    for early in waiting:
        try:
            fd = await context.runtime.attach_stdin(container.id)
        except NotFound:
            fd = None
        if fd is None:
            early.close()
        else:
            early.connect(fd, on_end)


async def _close_stdin(context: Context, container_id: str) -> None:
    try:
        await context.runtime.close_stdin(container_id)
    except NotFound:
        return  # ended first


async def logs(container: Container, options: LogsOptions) -> LogStream:
    """The container's log, open by now: `rm` may follow at once.

    Raises NotSupported if its driver keeps nothing that can be read.
    """
    if not container.log_path:
        raise NotSupported("configured logging driver does not support reading")
    if not options.follow:
        await _short_command(container)
    query = LogQuery(
        stdout=options.stdout,
        stderr=options.stderr,
        since_ns=options.since_ns or None,
        until_ns=options.until_ns or None,
        tail=options.tail,
        follow=options.follow and container.status.is_active(),
        timestamps=options.timestamps,
        details=options.details,
    )
    reader = await open_logs(container.log_path, query, container.ended)
    tty = container.record.config.tty
    return LogStream(tty=tty, chunks=_LogChunks(reader, tty=tty))


async def _short_command(container: Container) -> None:
    """Let a container that has just been started end.

    dockerd's start takes so long that what a short command prints is in its log when start returns, and
    clients count on that (docker-py's tests do). Ours returns while the command is being loaded.
    """
    rest_s = _SHORT_S - (time.time_ns() - container.state.started_ns) / SECOND_NS
    if container.status is Status.RUNNING and 0 < rest_s <= _SHORT_S:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rest_s):
                await container.ended.wait()


async def _history(container: Container, query: LogQuery) -> AsyncIterator[bytes]:
    """What has been said so far; opened when it is asked for."""
    reader = await open_logs(container.log_path, query, container.ended)
    async with contextlib.aclosing(_LogChunks(reader, tty=container.record.config.tty)) as chunks:
        async for chunk in chunks:
            yield chunk


class _LogChunks:
    """What a log says, as it is sent. Close it (`aclose`), read or not."""

    def __init__(self, reader: LogReader, *, tty: bool) -> None:
        self._reader, self._tty = reader, tty

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._reader)
        if self._tty:
            return b"".join([data for _, data in chunk])
        return b"".join([frame(stream, data) for stream, data in chunk])

    async def aclose(self) -> None:
        """Stop reading."""
        await self._reader.aclose()
