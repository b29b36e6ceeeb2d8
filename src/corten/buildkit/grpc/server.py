"""The end that is called: methods by path. A call is a task as far as something has to be waited for."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias

from google.protobuf.message import Message

from corten.buildkit.grpc.call import Call, Received, Sent
from corten.buildkit.grpc.status import OK, GRPCError, Status, trailers
from corten.buildkit.proto.rpc_pb2 import Empty
from corten.http2.ends import Server
from corten.http2.errors import ErrorCode, StreamFault, StreamLost
from corten.http2.hpack import Fields, encode
from corten.http2.rawstream import RawStream
from corten.http2.settings import MAX_STREAMS

log = logging.getLogger(__name__)

_CONTENT_TYPE = b"application/grpc"
_ANSWER: Fields = [(b":status", b"200"), (b"content-type", _CONTENT_TYPE)]
_BEGINNING = encode(_ANSWER)
_SMALL = 16 << 10  # bytes of a request that are left to come unlooked at; of MAX_STREAMS not half the window
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

Rest: TypeAlias = "Coroutine[Any, Any, None] | None"
"""What is left to do of a call, in a task of its own; when that ends, so does the call."""

Explain: TypeAlias = "Callable[[Exception], GRPCError]"


@dataclass(frozen=True, slots=True)
class Method:
    """What answers calls of one path. What it raises ends the call.

    One of the two: `begin` is called when a call begins, `answer` with the request when that has come as a
    whole. Both act in the turn in which the frames come, and leave to a task what has to be waited for.
    """

    request_type: type[Message]
    begin: Callable[[ServerCall[Any, Any]], Rest] | None = None
    answer: Callable[[Any, ServerCall[Any, Any]], Rest] | None = None


class ServerCall(Call[Received, Sent], Generic[Received, Sent]):
    """A call from a client."""

    _method: Method
    _task: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _begun = False
    _timed_out = False

    def __init__(self, connection: Server, identifier: int, calls: _Calls) -> None:
        super().__init__(connection, identifier, Empty)
        self._calls = calls
        self._fields: Fields = []

    # -- the stream's callbacks -------------------------------------------------------------------

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
        self._method = method = self._calls.methods.get(path.decode("latin-1"), _UNKNOWN)
        self._received_type = method.request_type
        if timeout := said.get(b"grpc-timeout"):
            self._expire_after(timeout)
        if method.begin is not None and (rest := method.begin(self)) is not None:
            self._go_on(rest)

    def on_data(self, data: bytes) -> None:
        """See Stream."""
        super().on_data(data)
        if self.sent_end:
            self.give_back(0)  # of no interest any more
        elif self._held > _SMALL and self._method.answer is not None:
            self._ask_for_more()

    def _ask_for_more(self) -> None:
        """A large request is not to fill the window; what comes after its message is not asked for."""
        try:
            if self.lacks():
                self.give_back(0)
        except GRPCError as error:
            self.fail(error)

    def on_end(self) -> None:
        """See Stream."""
        if (answer := self._method.answer) is None:
            super().on_end()
        elif not self.has_ended:
            try:
                rest = answer(self._request(), self)
            except Exception as error:
                self.fail(error)
            else:
                if rest is None:
                    self.connection.outbox.flush()
                else:
                    self._go_on(rest)

    def _request(self) -> Received:
        message = self.take_message()
        if message is not None:
            return message
        if self._received:
            raise GRPCError(Status.INTERNAL, "a message that is cut off")
        raise GRPCError(Status.UNKNOWN, "the request is missing")

    def on_lost(self, error: StreamLost) -> None:
        """See Stream: nobody waits for an answer."""
        super().on_lost(error)
        if self._timer is not None:
            self._timer.cancel()
        self._cancel()

    # -- time -------------------------------------------------------------------------------------

    def _expire_after(self, timeout: bytes) -> None:
        if not (parsed := _TIMEOUT.fullmatch(timeout)):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a time that is none")
        delay = int(parsed[1]) * _SECONDS[parsed[2]]
        self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timed_out = True
        if self._task is None:
            self._fail_in_time()
        self._cancel()

    def _fail_in_time(self) -> None:
        self.fail(GRPCError(Status.DEADLINE_EXCEEDED, "context deadline exceeded"))

    # -- tasks ------------------------------------------------------------------------------------

    def _go_on(self, rest: Coroutine[Any, Any, None]) -> None:
        self._task = self._calls.spawn(rest, self._done)

    def _cancel(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            if self._timed_out:
                self._fail_in_time()
        elif isinstance(error := task.exception(), Exception):
            self.fail(error)
        elif not self.has_ended:
            self.end()

    # -- for methods ------------------------------------------------------------------------------

    def said(self, name: bytes) -> list[str]:
        """What the client has said of the call under this name."""
        return [value.decode("latin-1") for each, value in self._fields if each == name]

    @property
    def has_ended(self) -> bool:
        """Whether nothing more can be said."""
        return self.sent_end or self._last is not None or self.lost is not None

    def announce(self, fields: Fields) -> None:
        """Begin the answer at once, and say something of it."""
        self._begun = True
        self.send_headers(encode([*_ANSWER, *fields]))
        self.connection.outbox.flush()

    def write(self, data: bytes, *, end: bool = False) -> None:
        """See Stream."""
        if not self._begun:
            self._begin()
        super().write(data, end=end)

    def end(self, data: bytes = b"") -> None:
        """It went well; `data`: the last messages of the answer. Raises StreamLost."""
        if not self._begun:
            self._begin()
        self.finish(OK, data)

    def fail(self, error: Exception) -> None:
        """It did not go well, unless the call has ended: then that is of no interest."""
        if not self.has_ended:
            self.finish(encode([*(() if self._begun else _ANSWER), *trailers(self._calls.explain(error))]))
            self.connection.outbox.flush()

    def _begin(self) -> None:
        self._begun = True
        self.send_headers(_BEGINNING)

    def _end_sent(self) -> None:
        super()._end_sent()
        if self._timer is not None:
            self._timer.cancel()
        self.give_back(0)
        if not self.received_end:  # nor need it be, unless the end comes in this turn
            asyncio.get_running_loop().call_soon(self.reset, ErrorCode.NO_ERROR)


def _explained(error: Exception) -> GRPCError:
    if isinstance(error, GRPCError):
        return error
    log.error("an unexpected error in a call", exc_info=error)
    return GRPCError(Status.UNKNOWN, "Internal Server Error")


class _Calls:
    """The calls of one connection."""

    def __init__(self, methods: Mapping[str, Method], explain: Explain) -> None:
        self.methods = methods
        self.explain = explain
        self._running: set[asyncio.Task[None]] = set()

    def accept(self, connection: Server, identifier: int) -> ServerCall[Any, Any] | None:
        """A new one, unless too many run, be it for clients who want to know no more of them."""
        if len(self._running) >= MAX_STREAMS or connection.open_streams >= MAX_STREAMS:
            return None
        return ServerCall(connection, identifier, self)

    def spawn(
        self, rest: Coroutine[Any, Any, None], done: Callable[[asyncio.Task[None]], None]
    ) -> asyncio.Task[None]:
        """What is left of a call."""
        task = asyncio.get_running_loop().create_task(rest)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(done)
        return task

    async def close(self) -> None:
        """End them all."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)


_UNKNOWN_METHOD = encode([*_ANSWER, *trailers(GRPCError(Status.UNIMPLEMENTED, "unknown method"))])
_UNKNOWN = Method(Empty, begin=lambda call: call.finish(_UNKNOWN_METHOD))


def serve(
    stream: RawStream, methods: Mapping[str, Method], explain: Explain = _explained
) -> Coroutine[object, object, None]:
    """Serve gRPC on a stream, whose client has been greeted, from now on.

    The coroutine lasts until the peer has gone; calls end with it. `explain`: what a call answers whose
    method has raised this.
    """
    calls = _Calls(methods, explain)
    connection = Server(stream, calls.accept)
    connection.start()
    return _until_gone(connection, calls)


async def _until_gone(connection: Server, calls: _Calls) -> None:
    try:
        await connection.ended
    finally:
        connection.close()
        await calls.close()
