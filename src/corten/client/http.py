"""HTTP/1.1 over one transport: requests out, responses in, one after another (RFC 9112)."""

from __future__ import annotations

from corten.client.errors import ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from corten.client.transport import Transport

MAX_HEAD_BYTES = 1 << 20
_BODILESS = frozenset((204, 304))


class Response:
    """A response whose body has not been read yet: `read` it whole, or iterate over its pieces.

    `status` and lower-cased `headers` are there from the beginning. After the last piece `done` is true
    and the connection can carry the next request, unless the body ran to the end of the connection.
    """

    __slots__ = ("_connection", "_left", "chunked", "done", "headers", "keep_alive", "status")

    def __init__(self, connection: HTTPConnection, status: int, headers: dict[str, str], method: str) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length")
        bodiless = method == "HEAD" or status in _BODILESS
        self._left = 0 if bodiless or self.chunked else -1 if length is None else int(length)
        self.done = bodiless or (not self.chunked and self._left == 0)
        self.keep_alive = (bodiless or self._left >= 0) and headers.get("connection", "").lower() != "close"
        if bodiless:
            self.chunked = False

    def read(self) -> bytes:
        """The whole body that is left."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read_piece():
            yield piece

    def read_piece(self) -> bytes:
        """Bytes of the body as they come; none at its end. Raises ConnectionFailed if it is cut short."""
        if self.done:
            return b""
        link = self._connection
        if self._left == 0:
            self._left = link.read_chunk_size()
            if self._left == 0:
                link.skip_trailers()
                self.done = True
                return b""
        piece = link.read_some(self._left)
        if self._left < 0:
            self.done = not piece
            return piece
        if not piece:
            raise ConnectionFailed("unexpected EOF")
        self._left -= len(piece)
        if self._left == 0:
            if self.chunked:
                link.read_line()
            else:
                self.done = True
        return piece


class HTTPConnection:
    """One connection; not to be shared while a response is being read."""

    __slots__ = ("_buffer", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._buffer = b""

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes | Iterable[bytes]) -> None:
        """Send a request; a body that is not bytes goes out in chunks. Raises OSError."""
        lines = [f"{method} {target} HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in headers.items())]
        if isinstance(body, bytes):
            if body or method in ("POST", "PUT"):
                lines.append(f"Content-Length: {len(body)}\r\n")
            lines.append("\r\n")
            self.transport.sendall("".join(lines).encode("latin-1") + body)
            return
        lines.append("Transfer-Encoding: chunked\r\n\r\n")
        self.transport.sendall("".join(lines).encode("latin-1"))
        for piece in body:
            if piece:
                self.transport.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.transport.sendall(b"0\r\n\r\n")

    def receive(self, method: str) -> Response:
        """Read the head of the next final response; raises ConnectionFailed."""
        while True:
            lines = self._read_head().decode("latin-1").split("\r\n")
            words = lines[0].split(" ", 2)
            if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
                raise ConnectionFailed(f"malformed HTTP response {lines[0][:80]!r}")
            status = int(words[1])
            if status >= 200 or status == 101:
                break
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Response(self, status, headers, method)

    def _read_head(self) -> bytes:
        buffer = self._buffer
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            data = self.transport.recv()
            if not data or len(buffer) > MAX_HEAD_BYTES:
                raise ConnectionFailed("EOF" if not buffer else "unexpected EOF")
            buffer += data
        self._buffer = buffer[end + 4 :]
        return buffer[:end]

    def read_some(self, limit: int) -> bytes:
        """Up to `limit` bytes (negative: any number); none at the end of the connection."""
        data = self._buffer or self.transport.recv()
        if limit < 0 or len(data) <= limit:
            self._buffer = b""
            return data
        self._buffer = data[limit:]
        return data[:limit]

    def read_line(self) -> bytes:
        """A line without its end."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            data = self.transport.recv()
            if not data or len(self._buffer) > MAX_HEAD_BYTES:
                raise ConnectionFailed("unexpected EOF")
            self._buffer += data
        line = self._buffer[:end]
        self._buffer = self._buffer[end + 2 :]
        return line

    def read_chunk_size(self) -> int:
        """The size line of the next chunk; 0 ends the body."""
        line = self.read_line().partition(b";")[0].strip()
        try:
            return int(line, 16)
        except ValueError as e:
            raise ConnectionFailed(f"malformed chunk size {line[:20]!r}") from e

    def skip_trailers(self) -> None:
        """Read to the empty line after the last chunk."""
        while self.read_line():
            pass

    def take_buffer(self) -> bytes:
        """Bytes that were read beyond the last head: the beginning of a hijacked stream."""
        data, self._buffer = self._buffer, b""
        return data
