"""The end that is called: methods by path. A call is a task, unless its answer is there at once."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeAlias

from google.protobuf.message import Message

from corten.buildkit.grpc.call import Call, Received, Sent, framed
from corten.buildkit.grpc.status import OK, GRPCError, Status, trailers
from corten.buildkit.proto.rpc_pb2 import Empty
from corten.http2.connection import MAX_STREAMS
from corten.http2.ends import Server
from corten.http2.errors import ErrorCode, StreamFault, StreamLost
from corten.http2.hpack import Fields
from corten.http2.rawstream import RawStream

log = logging.getLogger(__name__)

Metadata: TypeAlias = "Mapping[str, list[str]]"

_CONTENT_TYPE = b"application/grpc"
_BEGINNING: Fields = [(b":status", b"200"), (b"content-type", _CONTENT_TYPE)]
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


@dataclass(frozen=True, slots=True)
class Method:
    """What answers calls of one path. What `run` raises ends the call.

    `answer`: what `run` would answer to a request that has come, without waiting for anything.
    """

    run: Callable[[ServerCall[Any, Any]], Awaitable[None]]
    request_type: type[Message]
    answer: Callable[[Any], Message] | None = None


class ServerCall(Call[Received, Sent], Generic[Received, Sent]):
    """A call from a client."""

    def __init__(self, connection: Server, identifier: int, calls: _Calls) -> None:
        super().__init__(connection, identifier, Empty)
        self._fields: Fields = []
        self._calls = calls
        self._task: asyncio.Task[None] | None = None
        self._answer_now: Callable[[Any], Message] | None = None
        self._begun = False
        self._timer: asyncio.TimerHandle | None = None
        self._timed_out = False

    def on_headers(self, fields: Fields) -> None:
        """See Stream. The first begin the call; others would be trailers, which mean nothing to gRPC."""
        if self._fields:
            return
        said = dict(fields)
        path = said.get(b":path")
        if said.get(b":method") != b"POST" or path is None:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "this is no call")
        if not said.get(b"content-type", b"").startswith(_CONTENT_TYPE):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "this is no call of gRPC")
        self._fields = fields
        method = self._calls.method(path.decode("latin-1"))
        self._received_type = method.request_type
        if method.answer is not None:
            self._answer_now = method.answer
            return
        self._task = self._calls.spawn(self._run(method))
        if timeout := said.get(b"grpc-timeout"):
            self._expire_after(timeout)

    def on_end(self) -> None:
        """See Stream."""
        super().on_end()
        if self._answer_now is not None:
            error: GRPCError | None = None
            try:
                self.write(framed(self._answer_now(self.take_message())))
            except Exception as raised:
                error = _error_of(raised)
            self._conclude(error)
            self.connection.outbox.flush()

    @cached_property
    def metadata(self) -> Metadata:
        """What the client has said of the call. Most methods do not ask."""
        found: dict[str, list[str]] = {}
        for name, value in self._fields:
            found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        return found

    def _expire_after(self, timeout: bytes) -> None:
        if not (parsed := _TIMEOUT.fullmatch(timeout)):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a time that is none")
        delay = int(parsed[1]) * _SECONDS[parsed[2]]
        self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timed_out = True
        self._cancel()

    def on_lost(self, error: StreamLost) -> None:
        """See Stream: nobody waits for an answer."""
        super().on_lost(error)
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self, method: Method) -> None:
        try:
            await self._end(await self._answer(method))
        except StreamLost:
            pass
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _answer(self, method: Method) -> GRPCError | None:
        """Do what is asked for; what it has failed with. Raises StreamLost."""
        try:
            await method.run(self)
        except StreamLost:
            raise
        except asyncio.CancelledError:
            if not self._timed_out:
                raise
            return GRPCError(Status.DEADLINE_EXCEEDED, "context deadline exceeded")
        except Exception as error:
            return _error_of(error)
        return None

    async def _end(self, error: GRPCError | None) -> None:
        """Say how it went; what the client still sends is of no interest. Raises StreamLost."""
        self._conclude(error)
        await self.drained()
        self.reset(ErrorCode.NO_ERROR)  # without effect when the client has said all
        self.connection.outbox.flush()

    def _conclude(self, error: GRPCError | None) -> None:
        if error is None:
            self._begin()
            self.finish(OK)
        else:
            self.finish([*(() if self._begun else _BEGINNING), *trailers(error)])
        self.give_back(0)

    def write(self, data: bytes, *, end: bool = False) -> None:
        """See Stream."""
        self._begin()
        super().write(data, end=end)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.send_headers(_BEGINNING)


def _error_of(error: Exception) -> GRPCError:
    if isinstance(error, GRPCError):
        return error
    log.error("an unexpected error in a call", exc_info=error)
    return GRPCError(Status.UNKNOWN, "Internal Server Error")


class _Calls:
    """The calls of one connection."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods
        self._running: set[asyncio.Task[None]] = set()

    def accept(self, connection: Server, identifier: int) -> ServerCall[Any, Any] | None:
        """A new one, unless too many run, be it for clients who want to know no more of them."""
        if len(self._running) >= MAX_STREAMS or connection.open_streams >= MAX_STREAMS:
            return None
        return ServerCall(connection, identifier, self)

    def method(self, path: str) -> Method:
        """What answers at this path."""
        return self._methods.get(path, _UNKNOWN)

    def spawn(self, running: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A call begins."""
        task = asyncio.ensure_future(running)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def close(self) -> None:
        """End them all."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


async def _unknown(call: ServerCall[Any, Any]) -> None:
    raise GRPCError(Status.UNIMPLEMENTED, "unknown method")


_UNKNOWN = Method(_unknown, Empty)


def serve(stream: RawStream, methods: Mapping[str, Method]) -> Coroutine[object, object, None]:
    """Serve gRPC on a stream from now on. The coroutine lasts until the peer has gone; calls end with it."""
    calls = _Calls(methods)
    connection = Server(stream, calls.accept)
    connection.start()
    return _until_gone(connection, calls)


async def _until_gone(connection: Server, calls: _Calls) -> None:
    try:
        await connection.ended
    finally:
        connection.close()
        await calls.close()
