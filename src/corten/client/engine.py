"""The engine behind an address: versioned calls, keep-alive, error texts, hijacked streams."""

from __future__ import annotations

from corten.client import jsontext, query
from corten.client.errors import APIError, ClientError, ConnectionFailed
from corten.client.http import HTTPConnection, Response
from corten.client.transport import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from corten.client.address import Address
    from corten.client.transport import Transport

API_VERSION = "1.51"


class Hijacked:
    """A stream taken over from HTTP: raw bytes both ways, each direction closed by itself.

    `multiplexed`: the engine sends stdcopy frames (None: it did not say).
    """

    __slots__ = ("_early", "_transport", "multiplexed")

    def __init__(self, transport: Transport, early: bytes, *, multiplexed: bool | None) -> None:
        self._transport = transport
        self._early = early
        self.multiplexed = multiplexed

    def recv(self) -> bytes:
        """Some bytes; none at the end of the stream. A peer that resets ends it too."""
        if self._early:
            data, self._early = self._early, b""
            return data
        try:
            return self._transport.recv()
        except ConnectionResetError:
            return b""

    def sendall(self, data: bytes) -> None:
        """Send everything; raises OSError."""
        self._transport.sendall(data)

    def close_write(self) -> None:
        """Close the container's stdin."""
        self._transport.close_write()

    def abort(self) -> None:
        """End both directions at once."""
        self._transport.abort()

    def close(self) -> None:
        """Release the connection."""
        self._transport.close()


class Engine:
    """Calls to one engine. The newest API version is tried first; an older engine names its own.

    `version` is the API version in use. A fixed version (DOCKER_API_VERSION) is never lowered.
    """

    def __init__(
        self, address: Address, *, version: str | None = None, user_agent: str = "Corten-Client"
    ) -> None:
        self.address = address
        self.trace: Callable[[str], None] | None = None
        """Is told of every request."""
        self.version = version or API_VERSION
        self._fixed = version is not None
        self._last: tuple[HTTPConnection, Response] | None = None
        self._common = {"Host": address.host or "localhost", "User-Agent": user_agent}

    # -- calls with JSON in and out

    def get(self, path: str, **fields: object) -> Any:
        """GET a document. Raises APIError, ConnectionFailed."""
        return self._document("GET", path, fields, None)

    def post(self, path: str, body: object = None, **fields: object) -> Any:
        """POST a document or nothing; give the answer's document, None if it has none."""
        return self._document("POST", path, fields, body)

    def put(self, path: str, body: object = None, **fields: object) -> Any:
        """PUT, decoded."""
        return self._document("PUT", path, fields, body)

    def delete(self, path: str, **fields: object) -> Any:
        """DELETE; give the answer's document, None if it has none."""
        return self._document("DELETE", path, fields, None)

    def _document(self, method: str, path: str, fields: dict[str, object], body: object) -> Any:
        data = b"" if body is None else jsontext.dumps(body).encode("utf-8", "surrogateescape")
        headers = {"Content-Type": "application/json"} if data else {}
        text = self.call(method, path, fields, data, headers).read()
        try:
            return jsontext.loads(text) if text.strip() else None
        except ValueError as e:
            raise ConnectionFailed(f"error reading the answer to {method} {path}: {e}") from e

    # -- calls with bytes or streams

    def call(
        self,
        method: str,
        path: str,
        fields: dict[str, object] | None = None,
        body: bytes | Iterable[bytes] = b"",
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Send a request and read the answer's head. Raises APIError for statuses from 400 on."""
        if not isinstance(body, bytes):
            self.negotiate()  # a stream cannot be sent twice
        while True:
            response = self._exchange(method, self._target(path, fields or {}), body, headers or {})
            if response.status < 400:
                return response
            error = _error(response)
            if not self._lower_version(error):
                raise error

    def negotiate(self) -> None:
        """Settle the API version now."""
        if not self._fixed:
            self.call("GET", "/_ping").read()
            self._fixed = True

    def ping(self) -> dict[str, str]:
        """The headers of the engine's _ping, lower-cased."""
        response = self._exchange("GET", f"{self.address.base}/_ping", b"", {})
        response.read()
        return response.headers

    def hijack(self, path: str, fields: dict[str, object] | None = None, body: object = None) -> Hijacked:
        """POST and take the connection over (attach, exec start). Raises APIError, ConnectionFailed."""
        return self.finish_hijack(self.begin_hijack(path, fields, body))

    def begin_hijack(
        self, path: str, fields: dict[str, object] | None = None, body: object = None
    ) -> HTTPConnection:
        """Send the request only, so that several can be under way; see `finish_hijack`."""
        data = b"" if body is None else jsontext.dumps(body).encode("utf-8", "surrogateescape")
        headers = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json"}
        return self.begin("POST", path, fields, data, headers)

    def finish_hijack(self, link: HTTPConnection) -> Hijacked:
        """Read the answer to `begin_hijack`; engines say 101, old ones 200."""
        response = self.finish(link, "POST")
        kind = response.headers.get("content-type", "")
        multiplexed = {
            "application/vnd.docker.multiplexed-stream": True,
            "application/vnd.docker.raw-stream": False if self.version >= "1.42" else None,
        }.get(kind)
        return Hijacked(link.transport, link.take_buffer(), multiplexed=multiplexed)

    def begin(
        self,
        method: str,
        path: str,
        fields: dict[str, object] | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> HTTPConnection:
        """Send a request on a connection of its own and don't wait for the answer; see `finish`."""
        link = HTTPConnection(connect(self.address))
        target = self._target(path, fields or {})
        if self.trace is not None:
            self.trace(f"{method} {target}")
        try:
            link.send(method, target, {**self._common, **(headers or {})}, body)
        except OSError as e:
            link.transport.close()
            raise ConnectionFailed(f"error during connect: {e}") from e
        return link

    def finish(self, link: HTTPConnection, method: str) -> Response:
        """Read the head of the answer to `begin`. Raises APIError for statuses from 400 on."""
        try:
            response = link.receive(method)
            if response.status >= 400:
                raise _error(response)
        except OSError as e:
            link.transport.close()
            raise ConnectionFailed(f"error during connect: {e}") from e
        except ClientError:
            link.transport.close()
            raise
        return response

    def close(self) -> None:
        """Release the connection kept for the next call."""
        if self._last is not None:
            self._last[0].transport.close()
            self._last = None

    # -- below

    def _target(self, path: str, fields: dict[str, object]) -> str:
        text = query.encode(fields)
        return f"{self.address.base}/v{self.version}{path}" + (f"?{text}" if text else "")

    def _exchange(
        self, method: str, target: str, body: bytes | Iterable[bytes], headers: dict[str, str]
    ) -> Response:
        if self.trace is not None:
            self.trace(f"{method} {target}")
        headers = {**self._common, **headers}
        if (link := self._take_idle()) is not None:
            try:
                link.send(method, target, headers, body)
                return self._receive(link, method)
            except (OSError, ConnectionFailed):
                link.transport.close()  # the engine had closed an idle connection: once more on a new one
                if not isinstance(body, bytes):
                    raise
        link = HTTPConnection(connect(self.address))
        try:
            try:
                link.send(method, target, headers, body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the engine may have refused early: its answer says why
            return self._receive(link, method)
        except OSError as e:
            link.transport.close()
            raise ConnectionFailed(f"error during connect: {e}") from e
        except ConnectionFailed:
            link.transport.close()
            raise

    def _take_idle(self) -> HTTPConnection | None:
        last, self._last = self._last, None
        if last is None or not last[1].done:
            return None
        if last[1].keep_alive:
            return last[0]
        last[0].transport.close()
        return None

    def _receive(self, link: HTTPConnection, method: str) -> Response:
        response = link.receive(method)
        self._last = link, response
        return response

    def _lower_version(self, error: APIError) -> bool:
        marker = "Maximum supported API version is "
        if self._fixed or error.status != 400 or marker not in error.message:
            return False
        self.version = error.message.partition(marker)[2].strip()
        self._fixed = True
        return True


def _error(response: Response) -> APIError:
    text = response.read().decode("utf-8", "replace").strip()
    try:
        message = jsontext.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text or f"request returned status {response.status}"
    return APIError(response.status, str(message).strip())
