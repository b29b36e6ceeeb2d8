"""Errors → HTTP: the one place that knows which kind is which status."""

from __future__ import annotations

import logging
import secrets

import msgspec

from corten import errors
from corten.api.body import BodyTooLarge
from corten.api.response import Answer

log = logging.getLogger(__name__)

_STATUS: dict[type[errors.CortenError], int] = {
    BodyTooLarge: 413,
    errors.NotModified: 304,
    errors.InvalidParameter: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.InternalError: 500,
    errors.NotSupported: 501,
    errors.Unavailable: 503,
    errors.CortenError: 500,
}


class ErrorResponse(msgspec.Struct):
    """Body of every error."""

    message: str


def status_of(error: errors.CortenError) -> int:
    """The status of an error's kind."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def prefixed(error: errors.CortenError, prefix: str) -> errors.CortenError:
    """The error with more text in front, of the same kind."""
    kind = next(kind for kind in type(error).__mro__ if kind in _STATUS)
    return kind(f"{prefix}: {error}")


def message_of(error: Exception) -> str:
    """What the client may read of an error. Anything but ours is logged and stays with us."""
    if isinstance(error, errors.CortenError):
        return str(error)
    reference = secrets.token_hex(4)
    log.error("unexpected error", exc_info=error, extra={"reference": reference})
    return f"internal error of the engine; its log has the details under {reference}"


def answer_of(error: Exception) -> Answer:
    """The answer to a request that ended in an error."""
    status = status_of(error) if isinstance(error, errors.CortenError) else 500
    if status == 304:
        return Answer(304)
    return error_answer(status, message_of(error))


def error_answer(status: int, message: str) -> Answer:
    """An error as Docker writes it."""
    return Answer(status, msgspec.json.encode(ErrorResponse(message)) + b"\n")
