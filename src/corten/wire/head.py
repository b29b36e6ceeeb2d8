"""The head of a request: parsed by llhttp, checked for what could be understood in two ways."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import httptools

from corten.wire.http1 import ChunkedDecoder, LengthDecoder, ProtocolError, content_length, has_token

MAX_HEADERS = 100
"""Header lines that one request may have."""

_SINGLE = frozenset((b"host", b"content-length", b"transfer-encoding", b"origin", b"authorization"))
"""Headers that a request may have only once."""

_SHORT = 160  # bytes of a head that says what is asked for by which program, and no more


class BadHead(ProtocolError):
    """Not a request that we answer; `status` is what we say instead."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def read_head(data: bytes) -> Head:
    """As `Head(data)`; some short ones are remembered, as clients repeat themselves. Raises BadHead."""
    return _remembered(data) if len(data) <= _SHORT else Head(data)


@lru_cache(maxsize=64)
def _remembered(data: bytes) -> Head:
    return Head(data)


class Head:
    """Method, target and headers (names in lower case, repeated ones joined by commas). Nobody changes it."""

    __slots__ = ("_count", "_found", "_length", "headers", "http10", "keep_alive", "method", "target")

    def __init__(self, data: bytes) -> None:
        """Parse; data ends with the empty line. Raises BadHead."""
        self.target = b""
        self._found: dict[bytes, bytes] = {}
        self.headers: Mapping[bytes, bytes] = self._found
        self._count = 0
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise BadHead(400, f"malformed HTTP request: {error.__context__ or error}") from None
        if self._count > MAX_HEADERS:
            raise BadHead(431, "too many request headers")
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise BadHead(400, f"unsupported HTTP version: {version}")
        self.method = parser.get_method()
        self.http10 = version == "1.0"
        if not self.http10 and b"host" not in self.headers:
            raise BadHead(400, "missing required Host header")  # RFC 9112, 3.2
        self.keep_alive = self._keeps_alive()
        self._length = self._body_length()

    def on_url(self, url: bytes) -> None:
        """llhttp: the target; of one in absolute form, as for a proxy, the path (RFC 9112, 3.2.2)."""
        if url[:1] != b"/" and b"://" in url:
            url = b"/" + url.partition(b"://")[2].partition(b"/")[2]
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: a header."""
        name = name.lower()
        headers = self._found
        self._count += 1
        if name in headers:
            if name in _SINGLE:
                raise ProtocolError(f"repeated header: {name.decode('latin-1')}")
            value = headers[name] + b", " + value
        headers[name] = value

    @property
    def expects_continue(self) -> bool:
        """The client waits for 100 before it sends the body."""
        return not self.http10 and self.headers.get(b"expect", b"").lower() == b"100-continue"

    def body_decoder(self) -> LengthDecoder | ChunkedDecoder | None:
        """What finds the end of the body; None if there is none."""
        if self._length is None:
            return ChunkedDecoder()
        return LengthDecoder(self._length) if self._length else None

    def _body_length(self) -> int | None:
        """None = in chunks."""
        coding = self.headers.get(b"transfer-encoding")
        length = self.headers.get(b"content-length")
        if coding is not None:
            if coding.lower() != b"chunked" or length is not None or self.http10:
                raise BadHead(400, "malformed HTTP request: Transfer-Encoding other than plain chunked")
            return None
        if length is None:
            return 0
        try:
            return content_length(length)
        except ProtocolError as error:
            raise BadHead(400, f"malformed HTTP request: {error}") from None

    def _keeps_alive(self) -> bool:
        connection = self.headers.get(b"connection")
        if connection is None:
            return not self.http10
        if self.http10:
            return has_token(connection, b"keep-alive")
        return not has_token(connection, b"close")
