"""A request, as handlers see it."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote, urlencode

from corten.api import documents
from corten.api.requestversions import adapt
from corten.api.response import JSON, hijack_head
from corten.api.versions import MAX_VERSION, Version
from corten.errors import InvalidParameter
from corten.types.pieces import FilePiece, Piece
from corten.units import parse_unix_time
from corten.wire.http1 import has_token, parse_query

if TYPE_CHECKING:
    import ssl

    from corten.api.body import Body
    from corten.api.connection import Connection
    from corten.api.hijack import HijackedStream

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of a unix socket (SO_PEERCRED, at the time of connect)."""

    pid: int
    uid: int
    gid: int


class ResponseStream:
    """An answer whose body is written piece by piece; ended by the connection when the handler returns."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def write(self, data: Piece) -> None:
        """Send a piece; waits while the client does not take it. Raises ConnectionError, OSError of files."""
        if isinstance(data, FilePiece):
            await self._connection.write_file(data)
        elif data:
            self._connection.write_piece(data)
            await self._connection.drained()


class Request:
    """Method, path, query, headers (names in lower case) and body of a request."""

    __slots__ = (
        "_query",
        "_raw_query",
        "body",
        "connection",
        "headers",
        "method",
        "outlives_client",
        "params",
        "path",
        "streamed",
        "version",
        "warnings",
    )

    def __init__(
        self,
        connection: Connection,
        method: bytes,
        target: bytes,
        headers: Mapping[bytes, bytes],
        body: Body,
    ) -> None:
        self.connection = connection
        self.method = method
        self.path, _, self._raw_query = target.partition(b"?")
        self.headers = headers
        self.body = body
        self.version: Version = MAX_VERSION
        self.params: tuple[str, ...] = ()
        self.warnings: list[str] = []
        self.outlives_client = False  # whether its handler goes on when the client goes
        self.streamed = 0  # the status of an answer that was begun before the handler's end
        self._query: dict[str, list[str]] | None = None

    @property
    def query(self) -> dict[str, list[str]]:
        """All values of the query string."""
        if self._query is None:
            self._query = parse_query(self._raw_query)
        return self._query

    def text(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def texts(self, name: str) -> list[str]:
        """All values of a query parameter."""
        return self.query.get(name, [])

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter as Docker's truth value: all but "", 0, no, false, none is true."""
        values = self.query.get(name)
        if not values:
            return default
        return values[0].strip().lower() not in ("", "0", "no", "false", "none")

    def integer(self, name: str, default: int = 0) -> int:
        """A query parameter as a number. Raises InvalidParameter."""
        text = self.text(name)
        if not text:
            return default
        return int(_integer(text))

    def time_ns(self, name: str) -> int | None:
        """A query parameter as a time, nanoseconds since 1970; None if not given. Raises InvalidParameter."""
        text = self.text(name)
        if not text:
            return None
        try:
            return parse_unix_time(text)
        except ValueError as error:
            raise InvalidParameter(str(error)) from None

    async def json(self, document: type[T], *, required: bool = False) -> T:
        """The body as a document, as its version meant it; an empty one gives the defaults, as in Docker.

        required: an empty one is an error. Raises InvalidParameter. What is to be said about it is added to
        `warnings`.
        """
        data = await self.json_text()
        decoded = documents.decode(data if data or required else b"{}", document)
        self.warnings += adapt(decoded, self.version)
        return decoded

    async def json_text(self) -> bytes:
        """The body, perhaps empty, of a request that says it is JSON. Raises InvalidParameter.

        There is no other way to a document: what authorization plugins were not shown is never read as one.
        """
        data = await self.body.read()
        if data and not self.is_json:
            shown = self.headers.get(b"content-type", b"").decode("latin-1")
            if not shown:
                raise InvalidParameter("malformed Content-Type header (): mime: no media type")
            raise InvalidParameter(f"unsupported Content-Type header ({shown}): must be 'application/json'")
        return data

    @property
    def is_json(self) -> bool:
        """Whether the client says that the body is JSON."""
        kind = self.headers.get(b"content-type", b"").partition(b";")[0]
        return kind.strip().lower() == b"application/json"

    @property
    def uri(self) -> str:
        """What was asked for, in one spelling: escaped where it must be, as the engine understands it."""
        path = self.path.decode("latin-1")
        text = quote(unquote(path), safe="/!$&'()*+,;=:@~")
        if not self._raw_query:
            return text
        pairs = [(name, value) for name, values in self.query.items() for value in values]
        return f"{text}?{urlencode(pairs)}"

    @property
    def peer(self) -> Peer | None:
        """The process at the other end; None over TCP."""
        sock = self.connection.socket
        if sock is None or sock.family != socket.AF_UNIX:
            return None
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, gid = struct.unpack("3i", raw)
        return Peer(pid=pid, uid=uid, gid=gid)

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session; None without TLS."""
        return self.connection.tls

    @property
    def upgrade(self) -> bytes | None:
        """The protocol that the client wants to change to, in lower case."""
        if not has_token(self.headers.get(b"connection", b""), b"upgrade"):
            return None
        return self.headers.get(b"upgrade", b"").lower() or None

    def stream(
        self, content_type: bytes = JSON, status: int = 200, *, headers: bytes = b""
    ) -> ResponseStream:
        """Send the head of a streamed answer now. headers: further lines, each with its CRLF."""
        self.connection.start_stream(status, content_type, headers)
        self.streamed = status
        return ResponseStream(self.connection)

    async def send_all(self, chunks: AsyncIterator[bytes], content_type: bytes) -> None:
        """Stream an answer from an iterator."""
        stream = self.stream(content_type)
        async for piece in chunks:
            await stream.write(piece)

    def hijack(self, content_type: bytes) -> HijackedStream:
        """Turn the connection into a raw stream, both ways. The body must have been read.

        Raises ConnectionResetError if the client has gone.
        """
        return self.switch(hijack_head(content_type, self.upgrade))

    def switch(self, head: bytes, greeting: bytes = b"") -> HijackedStream:
        """As `hijack`, with another head, of another protocol, and what that begins with."""
        stream = self.connection.hijack(head, greeting)
        self.streamed = int(head[9:12])
        return stream


def _integer(text: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
        raise InvalidParameter(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
