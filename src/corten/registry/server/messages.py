"""What goes between the HTTP server and the operations: requests, their bodies, replies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote

from corten.registry.server.errors import Refused
from corten.wire.http1 import REASONS, ChunkedDecoder, LengthDecoder, parse_query


class BodyBroken(ConnectionError):
    """The client went away in the middle of a body."""


class RequestBody:
    """The bytes that come with a request; iterate once, or `read` them whole.

    Iterating raises BodyBroken, and ProtocolError for what is no body.
    """

    def __init__(
        self,
        decoder: LengthDecoder | ChunkedDecoder | None,
        early: bytes,
        receive: Callable[[], bytes],
        on_start: Callable[[], None] | None,
    ) -> None:
        """early: what came with the head; on_start sends 100-continue before more is waited for."""
        self._decoder = decoder
        self._early = early
        self._receive = receive
        self._on_start = on_start
        self._started = False

    @property
    def done(self) -> bool:
        """Whether all of it has been taken."""
        return self._decoder is None or self._decoder.done

    @property
    def awaits_continue(self) -> bool:
        """The client waits for our 100 before it sends anything."""
        return self._on_start is not None and not self._early

    @property
    def abandoned(self) -> bool:
        """Its reader stopped in the middle; nobody can find its end any more."""
        return self._started and not self.done

    @property
    def rest(self) -> bytes:
        """What followed it on the connection."""
        return self._early if self._decoder is None else self._decoder.rest

    def __iter__(self) -> Iterator[bytes]:
        decoder = self._decoder
        if decoder is None:
            return
        self._started = True
        data, self._early = self._early, b""
        while True:
            yield from (piece for piece in decoder.feed(data) if piece) if data else ()
            if decoder.done:
                return
            if self._on_start is not None:
                self._on_start()
                self._on_start = None
            data = self._receive()
            if not data:
                raise BodyBroken("unexpected EOF in the request body")

    def read(self, limit: int) -> bytes:
        """All of it. Raises Refused beyond `limit` bytes."""
        parts, size = [], 0
        for piece in self:
            size += len(piece)
            if size > limit:
                raise Refused("SIZE_INVALID", f"request body is larger than {limit} bytes")
            parts.append(piece)
        return b"".join(parts)


@dataclass(slots=True)
class Request:
    """One request; header names in lower case. `peer`: the client's address; `tls`: over TLS.

    may_wait: otherwise whatever has to wait for something else than memory and files raises WouldWait
    instead, before it has changed anything; it is called again where it may.
    """

    method: str
    target: bytes
    headers: Mapping[bytes, bytes]
    body: RequestBody
    peer: str = ""
    tls: bool = False
    may_wait: bool = True
    path: str = field(init=False)
    query: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        path, _, query = self.target.partition(b"?")
        self.path = unquote(path.decode("latin-1")) if b"%" in path else path.decode("latin-1")
        self.query = parse_query(query) if query else {}

    def parameter(self, name: str) -> str:
        """The first value of a query parameter, "" without one."""
        values = self.query.get(name)
        return values[0] if values else ""

    def header(self, name: bytes) -> str:
        """A header's value, "" without one."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def origin(self) -> str:
        """Scheme and host by which the client reaches us."""
        scheme = "https" if self.tls or self.header(b"x-forwarded-proto") == "https" else "http"
        return f"{scheme}://{self.header(b'host')}"


class OpenFile:
    """A descriptor that replies share, and who remembers it; closed when nobody has the object any more."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


@dataclass(slots=True)
class FileBody:
    """A piece of an open file. ours: of a blob in the registry's own catalogue."""

    file: OpenFile
    offset: int
    length: int
    ours: bool = False

    def close(self) -> None:
        """Lose interest, which costs nothing here."""


class Pieces(Protocol):
    """Bytes in pieces, which somebody produces until `close`."""

    def __iter__(self) -> Iterator[bytes]: ...
    def close(self) -> None:
        """Lose interest; called once, also if it was never begun."""


@dataclass(slots=True)
class StreamBody:
    """Bytes that come while they are sent; length: how many they will be."""

    pieces: Pieces
    length: int

    def close(self) -> None:
        """Lose interest in the rest."""
        self.pieces.close()


@dataclass(slots=True)
class Reply:
    """An answer. A reply to HEAD has the body that GET would have: the server does not send it."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | FileBody | StreamBody = b""
    _head: bytes = b""

    def head(self, *, close: bool) -> bytes:
        """What goes before the body; may be asked for many times, when nothing changes any more."""
        if close:
            return self._written("close")
        self._head = self._head or self._written("keep-alive")  # HTTP/1.0 has to be told
        return self._head

    def _written(self, connection: str) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status not in (204, 304):
            lines.append(f"Content-Length: {self.length}")
        lines.append(f"Connection: {connection}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length
