"""The parts of HTTP/1.1 that are pure functions and state machines: chunked coding, queries, tokens.

Source: RFC 9110, RFC 9112. Heads of requests are parsed by llhttp, in `wire.head`.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

REASONS = {
    101: "UPGRADED",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    413: "Request Entity Too Large",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_MAX_SIZE_LINE = 256
_MAX_TRAILERS = 8192
_HEX = frozenset(b"0123456789abcdefABCDEF")


class ProtocolError(ValueError):
    """The bytes are not the HTTP that we are willing to read."""


def chunk(data: bytes) -> bytes:
    """One chunk; data must not be empty (that would end the body)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def content_length(value: bytes) -> int:
    """The number in a Content-Length header. Raises ProtocolError for anything but digits."""
    if not value.isdigit() or len(value) > 18:
        raise ProtocolError("malformed Content-Length")
    return int(value)


def has_token(value: bytes, token: bytes) -> bool:
    """Whether a comma-separated header value holds a token (given in lower case)."""
    value = value.lower()
    return value == token or (token in value and any(part.strip() == token for part in value.split(b",")))


def parse_query(raw: bytes) -> dict[str, list[str]]:
    """The values by name of a query string, in order; invalid escapes and UTF-8 stay as they are."""
    query: dict[str, list[str]] = {}
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            query.setdefault(_unquote(name), []).append(_unquote(value))
    return query


def _unquote(text: bytes) -> str:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" in text:
        text = unquote_to_bytes(text)
    return text.decode("utf-8", "replace")


class LengthDecoder:
    """Takes the bytes of a body of known length; afterwards `rest` is what follows it."""

    __slots__ = ("done", "remaining", "rest")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of the body."""
        if len(data) > self.remaining:
            data, self.rest = data[: self.remaining], data[self.remaining :]
        self.remaining -= len(data)
        self.done = not self.remaining
        yield data


class ChunkedDecoder:
    """Takes the bytes of a chunked body as they arrive; afterwards `rest` is what follows the body."""

    __slots__ = ("_at", "_buffer", "_need", "_step", "_trailers", "done", "remaining", "rest")

    def __init__(self) -> None:
        self._buffer = b""  # between two calls at most a line that is not whole yet
        self._at = 0  # how far it has been taken: cutting it at every step would copy all of it each time
        self._need = 0
        self._step = self._size_line
        self._trailers = 0
        self.remaining = 0  # nobody knows
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of the body. Raises ProtocolError; must be exhausted before the next call."""
        self._buffer = self._buffer + data if self._buffer else data
        self._at = 0
        while not self.done:
            piece = self._step()
            if piece is None:
                break
            if piece:
                yield piece
        self._buffer = self._buffer[self._at :]
        if self.done:
            self.rest, self._buffer = self._buffer, b""

    # Each step consumes from the buffer and returns data of the body (b"" = none), or None to wait for more.

    def _line(self, limit: int) -> bytes | None:
        most = self._at + limit + 2
        end = self._buffer.find(b"\r\n", self._at, most)
        line = self._buffer[self._at : most if end < 0 else end]
        if end < 0:
            if b"\n" in line or len(line) > limit + line.endswith(b"\r"):
                raise ProtocolError("malformed chunked body")
            return None
        if b"\n" in line or b"\r" in line:
            raise ProtocolError("malformed chunked body")
        self._at = end + 2
        return line

    def _size_line(self) -> bytes | None:
        line = self._line(_MAX_SIZE_LINE)
        if line is None:
            return None
        digits = line.partition(b";")[0].rstrip(b" \t")
        if not digits or len(digits) > 15 or not _HEX.issuperset(digits):
            raise ProtocolError("malformed chunk size")
        self._need = int(digits, 16)
        self._step = self._data if self._need else self._trailer_line
        return b""

    def _data(self) -> bytes | None:
        piece = self._buffer[self._at : self._at + self._need]
        if not piece:
            return None
        self._at += len(piece)
        self._need -= len(piece)
        if not self._need:
            self._step = self._data_end
        return piece

    def _data_end(self) -> bytes | None:
        line = self._line(0)
        if line is None:
            return None
        self._step = self._size_line
        return b""

    def _trailer_line(self) -> bytes | None:
        line = self._line(_MAX_TRAILERS)
        if line is None:
            return None
        self._trailers += len(line)
        if self._trailers > _MAX_TRAILERS:
            raise ProtocolError("too many trailers")
        self.done = not line
        return b""
