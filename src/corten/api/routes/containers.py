"""Containers."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, TypedDict, TypeVar

from corten.api import answers, versions
from corten.api.relay import Relay
from corten.api.request import Request
from corten.api.response import JSON, NO_CONTENT, Answer, warning_header
from corten.api.routes.streams import stream_type, terminal_size
from corten.api.status import prefixed
from corten.api.websocket import WebSocketStream, handshake
from corten.errors import CortenError, InternalError, InvalidParameter, NoSuchContainer, NotModified
from corten.filters import Filters
from corten.types.container import (
    ContainerInspect,
    ContainersPruneReport,
    ContainerSummary,
    CreateRequest,
    CreateResponse,
    UpdateRequest,
    UpdateResponse,
    WaitError,
    WaitResponse,
)
from corten.types.operations import (
    Attachment,
    AttachOptions,
    ContainerListOptions,
    LogsOptions,
    LogStream,
    WaitCondition,
)
from corten.wire import stdcopy

T = TypeVar("T")


class Containers(Protocol):
    """The engine's containers. `ref`: name, id or unambiguous prefix of an id.

    All raise NoSuchContainer for an unknown ref, Conflict for an ambiguous one.
    """

    async def create(self, name: str, request: CreateRequest, platform: str) -> CreateResponse:
        """Make a container; name "" = invent one, platform "" = the host's.

        Raises NoSuchImage (the client then pulls), Conflict for a taken name, InvalidParameter.
        """

    async def list(self, options: ContainerListOptions) -> Sequence[ContainerSummary]:
        """Containers, newest first."""

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        """Everything about one; `size` fills SizeRw and SizeRootFs."""

    async def start(self, ref: str, *, checkpoint: str = "", checkpoint_directory: str = "") -> None:
        """Start it, or bring it back from a checkpoint (see `Checkpoints`). Raises NotModified if it runs."""

    async def stop(self, ref: str, *, timeout_s: int | None, signal: str) -> str:
        """Signal it ("" = its StopSignal), and kill it after timeout_s (None = its own, -1 = never).

        Returns why it could not hear the signal if it had to be killed, else "". Raises NotModified if it
        does not run.
        """

    async def restart(self, ref: str, *, timeout_s: int | None, signal: str) -> None:
        """Stop it if it runs, then start it."""

    async def kill(self, ref: str, signal: str) -> None:
        """Send a signal: name with or without SIG, number, "" = KILL. Raises Conflict if it does not run."""

    async def pause(self, ref: str) -> None:
        """Freeze its processes. Raises Conflict if it does not run or is paused already."""

    async def unpause(self, ref: str) -> None:
        """Let them run on. Raises InternalError if it is not paused."""

    async def update(self, ref: str, request: UpdateRequest) -> UpdateResponse:
        """Change limits (0 = as before) and restart policy, at once if it runs. Raises Conflict."""

    async def rename(self, ref: str, name: str) -> None:
        """Give it another name. Raises Conflict if that is taken."""

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        """Set the size of its terminal. Raises Conflict if it does not run."""

    async def wait(self, ref: str, condition: WaitCondition) -> Awaitable[WaitResponse]:
        """Register interest at once and return what delivers the result.

        Two phases, because clients start the container only when the answer's head has arrived:
        an exit after this returned must not be missed. Cancelling the awaitable ends the interest.
        """

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """Remove it, killing it first if `force`; `volumes`: its anonymous volumes too."""

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """Connect to its stdio; a container not yet started is fine. Raises Conflict if it is paused."""

    async def logs(self, ref: str, options: LogsOptions) -> LogStream:
        """Open its log."""

    async def prune(self, filters: Filters) -> ContainersPruneReport:
        """Remove the stopped ones (filters: until, label, label!)."""


class ContainerHandlers:
    """HTTP of containers."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    async def create(self, request: Request) -> Answer:
        """POST /containers/create."""
        create = await request.json(CreateRequest, required=True)
        if not create.image and create == CreateRequest(
            host_config=create.host_config, networking_config=create.networking_config
        ):
            raise InvalidParameter("config cannot be empty in order to create a container")
        created = await self._containers.create(request.text("name"), create, request.text("platform"))
        created.warnings += request.warnings
        return answers.document(request, created, 201)

    async def list(self, request: Request) -> Answer:
        """GET /containers/json."""
        options = ContainerListOptions(
            all=request.flag("all"),
            limit=_limit(request),
            size=request.flag("size"),
            filters=Filters.parse(request.text("filters")),
        )
        return answers.documents(request, await self._containers.list(options))

    async def inspect(self, request: Request) -> Answer:
        """GET /containers/{id}/json."""
        container = await self._containers.inspect(request.params[0], size=request.flag("size"))
        return answers.document(request, container)

    async def start(self, request: Request) -> Answer:
        """POST /containers/{id}/start."""
        await self._containers.start(
            request.params[0],
            checkpoint=request.text("checkpoint"),
            checkpoint_directory=request.text("checkpoint-dir"),
        )
        return NO_CONTENT

    async def stop(self, request: Request) -> Answer:
        """POST /containers/{id}/stop."""
        name = request.params[0]
        work = self._containers.stop(name, **_stopping(request))
        warning = await _told_as(f"cannot stop container: {name}", work)
        return Answer(204, headers=warning_header(warning)) if warning else NO_CONTENT

    async def restart(self, request: Request) -> Answer:
        """POST /containers/{id}/restart."""
        name = request.params[0]
        work = self._containers.restart(name, **_stopping(request))
        await _told_as(f"Cannot restart container {name}", work)
        return NO_CONTENT

    async def kill(self, request: Request) -> Answer:
        """POST /containers/{id}/kill."""
        name, prefix = request.params[0], f"cannot kill container: {request.params[0]}"
        try:
            await self._containers.kill(name, request.text("signal"))
        except CortenError as error:
            if str(error).startswith("cannot kill container"):
                raise
            raise prefixed(error, prefix) from error
        return NO_CONTENT

    async def pause(self, request: Request) -> Answer:
        """POST /containers/{id}/pause."""
        await self._containers.pause(request.params[0])
        return NO_CONTENT

    async def unpause(self, request: Request) -> Answer:
        """POST /containers/{id}/unpause."""
        await self._containers.unpause(request.params[0])
        return NO_CONTENT

    async def update(self, request: Request) -> Answer:
        """POST /containers/{id}/update."""
        wanted = await request.json(UpdateRequest)
        return answers.document(request, await self._containers.update(request.params[0], wanted))

    async def rename(self, request: Request) -> Answer:
        """POST /containers/{id}/rename."""
        name = request.text("name")
        if not name:
            raise InvalidParameter("Neither old nor new names may be empty")
        await self._containers.rename(request.params[0], name)
        return NO_CONTENT

    async def resize(self, request: Request) -> Answer:
        """POST /containers/{id}/resize."""
        rows, columns = terminal_size(request)
        await self._containers.resize(request.params[0], rows, columns)
        return Answer(200)

    async def remove(self, request: Request) -> Answer:
        """DELETE /containers/{id}."""
        await self._containers.remove(
            request.params[0],
            force=request.flag("force"),
            volumes=request.flag("v"),
            link=request.flag("link"),
        )
        return NO_CONTENT

    async def prune(self, request: Request) -> Answer:
        """POST /containers/prune."""
        report = await self._containers.prune(Filters.parse(request.text("filters")))
        return answers.document(request, report)

    async def wait(self, request: Request) -> None:
        """POST /containers/{id}/wait: the head says that we are waiting, the body comes with the exit."""
        exited = await self._containers.wait(request.params[0], _condition(request.text("condition")))
        stream = request.stream(JSON)
        try:
            result = await exited
        except CortenError as error:
            result = WaitResponse(error=WaitError(message=str(error)), status_code=-1)
        await stream.write(versions.encode(result, request.version) + b"\n")

    async def logs(self, request: Request) -> None:
        """GET /containers/{id}/logs."""
        options = _logs_options(request)
        log = await self._containers.logs(request.params[0], options)
        async with answers.closing(log.chunks):
            stream = request.stream(stream_type(request, tty=log.tty))
            try:
                async for chunk in log.chunks:
                    await stream.write(chunk)
            except CortenError as error:
                text = f"Error grabbing logs: {error}\n".encode()
                await stream.write(text if log.tty else stdcopy.frame(stdcopy.SYSTEM_ERROR, text))

    async def attach_websocket(self, request: Request) -> None:
        """GET /containers/{id}/attach/ws: both streams as messages, without telling them apart."""
        head = handshake(request)
        options = _attach_options(request, all_streams=request.version < (1, 42))
        await request.body.read(0)
        attachment = await self._containers.attach(request.params[0], options)
        relay = Relay(attachment)
        try:
            stream = request.switch(head)
        except BaseException:
            relay.close()
            raise
        text = request.version < (1, 28)
        await relay.run(WebSocketStream(stream, text=text, framed=not attachment.tty))

    async def attach(self, request: Request) -> None:
        """POST /containers/{id}/attach."""
        options = _attach_options(request)
        await request.body.read(0)
        attachment = await self._containers.attach(request.params[0], options)
        relay = Relay(attachment)
        try:
            stream = request.hijack(stream_type(request, tty=attachment.tty))
        except BaseException:
            relay.close()
            raise
        await relay.run(stream)


def _attach_options(request: Request, *, all_streams: bool = False) -> AttachOptions:
    return AttachOptions(
        stream=request.flag("stream"),
        stdin=all_streams or request.flag("stdin"),
        stdout=all_streams or request.flag("stdout"),
        stderr=all_streams or request.flag("stderr"),
        logs=request.flag("logs"),
        detach_keys=request.text("detachKeys"),
    )


def _limit(request: Request) -> int:
    try:
        return request.integer("limit")
    except InvalidParameter as error:
        raise InternalError(str(error)) from None  # dockerd answers 500 for this one parameter


class _Stopping(TypedDict):
    timeout_s: int | None
    signal: str


async def _told_as(prefix: str, work: Awaitable[T]) -> T:
    """The work's result; what it raises says first what could not be done, as Docker's errors of it do."""
    try:
        return await work
    except (NoSuchContainer, NotModified):
        raise
    except CortenError as error:
        raise prefixed(error, prefix) from error


def _stopping(request: Request) -> _Stopping:
    timeout_s = request.integer("t") if request.text("t") else None
    return {"timeout_s": timeout_s, "signal": request.text("signal")}


def _condition(text: str) -> WaitCondition:
    try:
        return WaitCondition(text or "not-running")
    except ValueError:
        raise InvalidParameter(f'invalid condition: "{text}"') from None


def _logs_options(request: Request) -> LogsOptions:
    stdout, stderr = request.flag("stdout"), request.flag("stderr")
    if not (stdout or stderr):
        raise InvalidParameter("Bad parameters: you must choose at least one stream")
    tail = request.text("tail")
    return LogsOptions(
        stdout=stdout,
        stderr=stderr,
        follow=request.flag("follow"),
        timestamps=request.flag("timestamps"),
        details=request.flag("details"),
        since_ns=request.time_ns("since") or 0,
        until_ns=request.time_ns("until") or 0,
        tail=int(tail) if tail.isascii() and tail.isdigit() else None,
    )
