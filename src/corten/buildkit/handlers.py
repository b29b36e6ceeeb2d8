"""Methods of gRPC out of plain coroutines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from google.protobuf.message import Message

from corten.buildkit.failures import grpc_error
from corten.buildkit.grpc.server import Method, ServerCall
from corten.errors import InvalidParameter
from corten.http2.errors import StreamLost

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except StreamLost:
        raise
    except Exception as error:
        raise grpc_error(error) from error


async def _request(call: ServerCall[Request, Reply]) -> Request:
    request = await call.recv_message()
    if request is None:
        raise InvalidParameter("the request is missing")
    return request


def unary(
    function: Callable[[Request, ServerCall[Request, Reply]], Awaitable[Reply]], request_type: type[Request]
) -> Method:
    """A method of one request and one answer; errors become gRPC's."""

    async def run(call: ServerCall[Request, Reply]) -> None:
        with _translated_errors():
            reply = await function(await _request(call), call)
        await call.send_message(reply)

    return Method(run, request_type)


def at_once(function: Callable[[Request], Reply], request_type: type[Request]) -> Method:
    """A method of one request and one answer, which nothing has to be waited for."""

    def answer(request: Request | None) -> Reply:
        with _translated_errors():
            if request is None:
                raise InvalidParameter("the request is missing")
            return function(request)

    async def run(call: ServerCall[Request, Reply]) -> None:
        await call.send_message(answer(await call.recv_message()))

    return Method(run, request_type, answer)


def dialogue(
    function: Callable[[ServerCall[Request, Reply]], Awaitable[None]], request_type: type[Request]
) -> Method:
    """A method that takes and sends messages as it likes."""

    async def run(call: ServerCall[Request, Reply]) -> None:
        with _translated_errors():
            await function(call)

    return Method(run, request_type)


def streaming(
    function: Callable[[Request, ServerCall[Request, Reply]], Awaitable[None]], request_type: type[Request]
) -> Method:
    """A method of one request that sends any number of answers itself."""

    async def run(call: ServerCall[Request, Reply]) -> None:
        with _translated_errors():
            await function(await _request(call), call)

    return Method(run, request_type)
