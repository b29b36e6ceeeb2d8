"""Answers that handlers give: documents and streams of progress."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from corten.api import versions
from corten.api.request import Request
from corten.api.response import JSON, Answer
from corten.api.status import message_of
from corten.types.pieces import Piece
from corten.types.progress import ErrorDetail, JSONMessage, StreamFailure
from corten.wire.jsonstream import progress_line

T = TypeVar("T")


def document(request: Request, value: msgspec.Struct, status: int = 200, *, lasting: bool = False) -> Answer:
    """One document, as the client's version expects it. lasting: see Answer."""
    return Answer(status, versions.encode(value, request.version) + b"\n", lasting=lasting)


def documents(request: Request, values: Sequence[msgspec.Struct]) -> Answer:
    """A list of documents."""
    return Answer(200, versions.encode_all(values, request.version) + b"\n")


@asynccontextmanager
async def closing(iterator: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close an iterator (an async generator) however its use ends, so that it stops working for nobody."""
    try:
        yield iterator
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


async def progress(
    request: Request, messages: AsyncIterator[JSONMessage], *, errors_in_stream: bool = False
) -> Answer | None:
    """Stream messages. An error before the first becomes the status, a later one the last line.

    `errors_in_stream`: the first may fail in the stream, too, as Docker's load does.
    """
    async with closing(messages):
        try:
            message = await anext(messages)
        except StopAsyncIteration:
            return Answer(200)
        except Exception as error:
            if not errors_in_stream or request.body.failed:
                raise
            await request.stream(JSON).write(progress_line(failure(error)))
            return None
        stream = request.stream(JSON)
        try:
            while True:
                await stream.write(progress_line(message))
                message = await anext(messages)
        except StopAsyncIteration:
            pass
        except ConnectionError:
            raise
        except Exception as error:
            await stream.write(progress_line(failure(error)))
    return None


def failure(error: Exception) -> JSONMessage:
    """The last line of a stream that ended in an error."""
    text = message_of(error)
    code = error.code if isinstance(error, StreamFailure) else 0
    return JSONMessage(error_detail=ErrorDetail(code=code, message=text), error=text)


async def raw(request: Request, chunks: AsyncIterator[Piece], content_type: bytes) -> Answer | None:
    """Stream bytes. An error before the first becomes the status, a later one cuts the connection."""
    async with closing(chunks):
        try:
            chunk = await anext(chunks)
        except StopAsyncIteration:
            return Answer(200, b"", content_type)
        stream = request.stream(content_type)
        await stream.write(chunk)
        async for chunk in chunks:
            await stream.write(chunk)
    return None
