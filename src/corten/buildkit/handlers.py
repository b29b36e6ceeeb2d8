"""Handlers of gRPC methods out of plain coroutines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from google.protobuf.message import Message
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from corten.buildkit.failures import grpc_error
from corten.errors import InvalidParameter

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise grpc_error(error) from error


async def _request(stream: Stream[Request, Reply]) -> Request:
    request = await stream.recv_message()
    if request is None:
        raise InvalidParameter("the request is missing")
    return request


def unary(
    function: Callable[[Request, Stream[Request, Reply]], Awaitable[Reply]],
    request_type: type[Request],
    reply_type: type[Reply],
) -> Handler:
    """A handler of one request and one answer; errors become gRPC's."""

    async def handle(stream: Stream[Request, Reply]) -> None:
        with _translated_errors():
            reply = await function(await _request(stream), stream)
        await stream.send_message(reply)

    return Handler(handle, Cardinality.UNARY_UNARY, request_type, reply_type)


def dialogue(
    function: Callable[[Stream[Request, Reply]], Awaitable[None]],
    request_type: type[Request],
    reply_type: type[Reply],
) -> Handler:
    """A handler that takes and sends messages as it likes."""

    async def handle(stream: Stream[Request, Reply]) -> None:
        with _translated_errors():
            await function(stream)

    return Handler(handle, Cardinality.STREAM_STREAM, request_type, reply_type)


def streaming(
    function: Callable[[Request, Stream[Request, Reply]], Awaitable[None]],
    request_type: type[Request],
    reply_type: type[Reply],
) -> Handler:
    """A handler of one request that sends any number of answers itself."""

    async def handle(stream: Stream[Request, Reply]) -> None:
        with _translated_errors():
            await function(await _request(stream), stream)

    return Handler(handle, Cardinality.UNARY_STREAM, request_type, reply_type)
