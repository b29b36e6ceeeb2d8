"""Methods of gRPC out of plain functions and coroutines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from google.protobuf.message import Message

from corten.buildkit.grpc.call import framed
from corten.buildkit.grpc.server import Method, ServerCall

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


def constant(reply: Message, request_type: type[Request]) -> Method:
    """A method that always answers the same."""
    data = framed(reply)
    return Method(request_type, answer=lambda _, call: call.end(data))


def unary(
    function: Callable[[Request, ServerCall[Request, Reply]], Awaitable[Reply]], request_type: type[Request]
) -> Method:
    """A method of one request and one answer."""

    async def answer(request: Request, call: ServerCall[Request, Reply]) -> None:
        call.end(framed(await function(request, call)))
        call.connection.outbox.flush()

    return Method(request_type, answer=answer)


def streaming(
    function: Callable[[Request, ServerCall[Request, Reply]], Awaitable[None]], request_type: type[Request]
) -> Method:
    """A method of one request that sends any number of answers itself."""

    async def answer(request: Request, call: ServerCall[Request, Reply]) -> None:
        await function(request, call)
        call.end()
        call.connection.outbox.flush()

    return Method(request_type, answer=answer)


def dialogue(
    function: Callable[[ServerCall[Request, Reply]], Coroutine[Any, Any, None]], request_type: type[Request]
) -> Method:
    """A method that takes and sends messages as it likes."""
    return Method(request_type, begin=function)
