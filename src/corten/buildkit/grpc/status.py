"""How a call ends: gRPC's status codes, and the header fields that carry them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from enum import IntEnum
from urllib.parse import quote, unquote

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from corten.buildkit.proto import rpc_pb2
from corten.http2.hpack import Fields, encode

_STATUS, _MESSAGE, _DETAILS = b"grpc-status", b"grpc-message", b"grpc-status-details-bin"
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if code != ord("%"))


class Status(IntEnum):
    """Source: grpc/grpc, doc/statuscodes.md."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class GRPCError(Exception):
    """A call has failed, ours or the peer's. `details`: what else is said of it, typed."""

    def __init__(self, status: Status, message: str = "", details: Sequence[Any] = ()) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.details = details

    def __str__(self) -> str:
        """As Go's clients and servers say it."""
        return f"rpc error: code = {self.status.name.title().replace('_', '')} desc = {self.message}"


OK = encode([(_STATUS, b"0")])
"""What ends a call that went well."""


def trailers(error: GRPCError) -> Fields:
    """What ends a call that has failed."""
    status, message = error.status, error.message
    fields = [(_STATUS, b"%d" % status), (_MESSAGE, quote(message, safe=_PLAIN).encode())]
    if error.details:
        said = rpc_pb2.Status(code=status.value, message=message, details=error.details)
        fields.append((_DETAILS, base64.b64encode(said.SerializeToString()).rstrip(b"=")))
    return fields


def outcome(fields: dict[bytes, bytes]) -> GRPCError | None:
    """What the header fields at the end of a call say: None that it went well."""
    try:
        status = Status(int(fields.get(_STATUS, b"2")))
    except ValueError:
        status = Status.UNKNOWN
    if status is Status.OK:
        return None
    message = unquote(fields.get(_MESSAGE, b"").decode("latin-1"), errors="replace")
    return GRPCError(status, message, _decoded(fields.get(_DETAILS, b"")))


def _decoded(details: bytes) -> Sequence[Any]:
    """A peer's, which may be anything."""
    try:
        data = base64.b64decode(details + b"=" * (-len(details) % 4))
        return list(rpc_pb2.Status.FromString(data).details)
    except (binascii.Error, DecodeError):
        return ()
