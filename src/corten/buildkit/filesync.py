"""Fetching a client's files over its session: moby.filesync.v1.FileSync."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from corten.builder.blocking import run_blocking, run_job
from corten.buildkit.grpc.client import ClientCall
from corten.buildkit.grpc.status import GRPCError
from corten.buildkit.proto.files_pb2 import ERROR, Packet
from corten.buildkit.received import ReceivedTree
from corten.buildkit.sessions import ClientSession, client_error
from corten.buildkit.textcall import ENDED, TextCall
from corten.buildkit.transfer import Transfer
from corten.errors import InvalidParameter, Unavailable
from corten.snapshots.workers import WorkerPool

DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"
_READ = 1 << 20
_ANSWER = 64 << 10
_LITTLE = 8 << 10  # bytes of a transfer that is done before a thread would have begun
_SMALL = 4 << 10  # bytes for which it is worth to wait for more
_LULL_S = 0.002
_MORE, _LAST = b"+", b"."  # how an answer of the worker's begins

_Call: TypeAlias = "ClientCall[Packet, Packet]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to fetch of the client's directory `name`.

    `include`, `exclude`: patterns as in .dockerignore; `follow`: paths whose symlinks are wanted with what
    they point to.
    """

    name: str
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    follow: Sequence[str] = ()

    def headers(self) -> Mapping[str, Sequence[str]]:
        """As the protocol has it."""
        values = (
            ("dir-name", [self.name]),
            ("include-patterns", self.include),
            ("exclude-patterns", self.exclude),
            ("followpaths", self.follow),
        )
        return {key: found for key, found in values if found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What has come: number of files, bytes of them all, bytes of messages."""

    count: int
    size: int
    received_bytes: int


async def ask_texts(session: ClientSession, directory: str, names: Sequence[str]) -> TextCall:
    """Ask for a few small files of the client's directory. Raises InvalidParameter, NotFound, Unavailable."""
    make = partial(TextCall, names=names)
    try:
        return await session.begin(_served(session), make, Wanted(name=directory, follow=names).headers())
    except ConnectionError as error:
        raise client_error(error) from error


async def fetch_directory(
    session: ClientSession,
    directory: str,
    wanted: Wanted,
    *,
    index: str = "",
    workers: WorkerPool | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Fetched:
    """Fetch a directory of the client's; `directory`, `index` as for `ReceivedTree`.

    workers: by a process of its own, for what may be large. Raises InvalidParameter, BadTree, Unavailable,
    GRPCError.
    """
    received = 0

    def count(size: int) -> None:
        nonlocal received
        received += size
        on_progress(received)

    async with _transfer(session, wanted) as call:
        if workers is None:
            tree = ReceivedTree(directory, index)
            await _receive(call, tree, count)
            files, size = tree.count, tree.size
        else:
            files, size = await _by_worker(call, directory, index, count, workers)
    return Fetched(count=files, size=size, received_bytes=received)


@asynccontextmanager
async def _transfer(session: ClientSession, wanted: Wanted) -> AsyncIterator[_Call]:
    """A call for files; the client is told why we give up. Raises as `fetch_directory`."""
    try:
        async with session.stream(_served(session), Packet, wanted.headers()) as call:
            try:
                yield call
            except (GRPCError, ConnectionError):
                raise
            except Exception as error:
                with suppress(GRPCError, ConnectionError):
                    await call.send_message(Packet(type=ERROR, data=str(error).encode()))
                raise
    except (OSError, GRPCError) as error:
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):
            raise
        raise client_error(error) from error


def _served(session: ClientSession) -> str:
    """The method, if the client has it. Raises InvalidParameter."""
    if not session.serves(DIFF_COPY):
        raise InvalidParameter("no local sources enabled")
    return DIFF_COPY


async def _receive(call: _Call, tree: Transfer, on_progress: Callable[[int], None]) -> None:
    """All of it; `tree` is closed then."""
    try:
        said = False
        total = 0
        while not tree.complete:
            if not (data := await call.recv_bytes()):
                raise Unavailable(ENDED)
            on_progress(len(data))
            total += len(data)
            answers = tree.feed(data) if total <= _LITTLE else await run_blocking(partial(tree.feed, data))
            if answers:
                # Go's server resets a stream that it ends before we have ended our side.
                await call.send_bytes(answers, end=tree.finished and not said)
                said = tree.finished
    finally:
        tree.close()


async def _by_worker(
    call: _Call, directory: str, index: str, on_progress: Callable[[int], None], workers: WorkerPool
) -> tuple[int, int]:
    """Bytes go to the worker as they come; what it answers goes to the client."""
    to_worker, from_client = socket.socketpair()
    from_worker, to_client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs = (from_client, to_client)

    def close_theirs() -> None:
        for each in theirs:
            each.close()

    params = {"directory": directory, "index": index}
    job = "corten.buildkit.filesync:receive"
    fds = [each.fileno() for each in theirs]
    working = asyncio.ensure_future(run_job(workers, job, params, fds, on_start=close_theirs, bounded=False))
    for each in (to_worker, from_worker):
        each.setblocking(False)
    answering = asyncio.ensure_future(_pass_answers(call, from_worker))
    reading = asyncio.ensure_future(_pass_on(call, to_worker, on_progress))
    tasks = (answering, reading, working)
    try:
        await asyncio.wait((reading, working), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await reading
        answer = await working
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        to_worker.close()
        from_worker.close()
    return int(str(answer["count"])), int(str(answer["size"]))


async def _pass_on(call: _Call, worker: socket.socket, on_progress: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    before = _SMALL
    with suppress(BrokenPipeError, ConnectionResetError):  # then the worker says why
        while data := await call.recv_bytes():
            on_progress(len(data))
            if max(len(data), before) < _SMALL:  # it is the list, which is sent a file at a time
                call.connection.lull(_LULL_S)
            before = len(data)
            await loop.sock_sendall(worker, data)
        worker.shutdown(socket.SHUT_WR)


async def _pass_answers(call: _Call, worker: socket.socket) -> None:
    """Send what the worker answers, to the last."""
    loop = asyncio.get_running_loop()
    while answer := await loop.sock_recv(worker, _ANSWER):
        # Go's server resets a stream that it ends before we have ended our side.
        await call.send_bytes(answer[1:], end=answer[:1] == _LAST)


def receive(params: dict[str, object], fds: list[int], report: object) -> dict[str, object]:
    """The worker's job. fds: from where messages come, to where answers go. Answers count, size."""
    os.umask(0)
    gc.disable()  # nothing of a list of files is cyclic
    source, target = (socket.socket(fileno=fd) for fd in fds)
    tree = ReceivedTree(str(params["directory"]), str(params["index"]))
    said = False
    while not tree.complete:
        data = source.recv(_READ)
        if not data:
            raise Unavailable(ENDED)
        answers = tree.feed(data)
        while answers:
            piece, answers = answers[: _ANSWER - 1], answers[_ANSWER - 1 :]
            last = tree.finished and not answers and not said
            target.send((_LAST if last else _MORE) + piece)
            said = last or said
    tree.close()
    return {"count": tree.count, "size": tree.size}
