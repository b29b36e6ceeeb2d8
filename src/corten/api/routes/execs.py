"""Exec instances."""

from __future__ import annotations

from typing import Protocol

from corten.api import answers
from corten.api.relay import Relay
from corten.api.request import Request
from corten.api.response import Answer
from corten.api.routes.streams import stream_type, terminal_size
from corten.api.status import message_of
from corten.errors import InvalidParameter
from corten.types.exec import ExecConfig, ExecCreateResponse, ExecInspect, ExecStartConfig
from corten.types.operations import Attachment
from corten.wire import stdcopy


class Execs(Protocol):
    """The engine's exec instances. All raise NoSuchExec for an unknown id."""

    async def create(self, container: str, config: ExecConfig) -> ExecCreateResponse:
        """Prepare a process. Raises NoSuchContainer, Conflict if it does not run, InvalidParameter."""

    async def check(self, exec_id: str) -> None:
        """Raise what forbids to start it (NoSuchExec, Conflict): asked before the stream is opened."""

    async def start(self, exec_id: str, config: ExecStartConfig) -> Attachment:
        """Run it and hand over its stdio. What this raises the client reads on the stream."""

    async def start_detached(self, exec_id: str, config: ExecStartConfig) -> None:
        """Run it without stdio."""

    async def inspect(self, exec_id: str) -> ExecInspect:
        """Its state; kept for a while after its end, so that clients can ask for the exit code."""

    async def resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Set the size of its terminal."""


class ExecHandlers:
    """HTTP of exec instances."""

    def __init__(self, execs: Execs) -> None:
        self._execs = execs

    async def create(self, request: Request) -> Answer:
        """POST /containers/{id}/exec."""
        config = await request.json(ExecConfig)
        if not config.cmd:
            raise InvalidParameter("No exec command specified")
        created = await self._execs.create(request.params[0], config)
        return answers.document(request, created, 201)

    async def start(self, request: Request) -> Answer | None:
        """POST /exec/{id}/start: the stream is opened first; failing to start is told on it."""
        exec_id = request.params[0]
        config = await request.json(ExecStartConfig)
        await self._execs.check(exec_id)
        if config.detach:
            await self._execs.start_detached(exec_id, config)
            return Answer(200)
        stream = request.hijack(stream_type(request, tty=config.tty))
        try:
            attachment = await self._execs.start(exec_id, config)
        except Exception as error:
            text = f"{message_of(error)}\r\n".encode()
            await stream.head_taken()
            stream.write(text if config.tty else stdcopy.frame(stdcopy.STDOUT, text))
            await stream.finish()
            return None
        await Relay(attachment).run(stream)
        return None

    async def inspect(self, request: Request) -> Answer:
        """GET /exec/{id}/json."""
        return answers.document(request, await self._execs.inspect(request.params[0]))

    async def resize(self, request: Request) -> Answer:
        """POST /exec/{id}/resize."""
        rows, columns = terminal_size(request)
        await self._execs.resize(request.params[0], rows, columns)
        return Answer(200)
