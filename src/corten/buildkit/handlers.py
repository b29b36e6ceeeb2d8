"""Handlers of gRPC methods out of plain coroutines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from corten.buildkit.failures import grpc_error
from corten.errors import InvalidParameter

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


def unary(
    function: Callable[[Request, Stream[Request, Reply]], Awaitable[Reply]],
    request_type: type[Request],
    reply_type: type[Reply],
) -> Handler:
    """A handler of one request and one answer; errors become gRPC's."""

    async def handle(stream: Stream[Request, Reply]) -> None:
        request = await stream.recv_message()
        if request is None:
            raise grpc_error(InvalidParameter("the request is missing"))
        try:
            reply = await function(request, stream)
        except Exception as error:
            raise grpc_error(error) from error
        await stream.send_message(reply)

    return Handler(handle, Cardinality.UNARY_UNARY, request_type, reply_type)


def streaming(
    function: Callable[[Request, Stream[Request, Reply]], Awaitable[None]],
    request_type: type[Request],
    reply_type: type[Reply],
) -> Handler:
    """A handler of one request that sends any number of answers itself."""

    async def handle(stream: Stream[Request, Reply]) -> None:
        request = await stream.recv_message()
        if request is None:
            raise grpc_error(InvalidParameter("the request is missing"))
        try:
            await function(request, stream)
        except Exception as error:
            raise grpc_error(error) from error

    return Handler(handle, Cardinality.UNARY_STREAM, request_type, reply_type)
