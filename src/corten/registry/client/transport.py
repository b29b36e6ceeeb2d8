"""HTTP to a registry: connections kept for a thread's work, redirects followed with care.

Credentials stay with the host they were meant for (CVE-2020-15157): a redirect to another host or port
goes without them, and never from https to plain http.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from urllib.parse import SplitResult, urljoin, urlsplit

from corten.registry.client.errors import BadResponse, Unreachable

_TIMEOUT_S = 60.0
_MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_ERROR_BODY = 64 << 10
USER_AGENT = "corten/0.1"


class Response:
    """An answer whose body is still to be read. Close it, or use it as a context manager."""

    def __init__(
        self,
        url: str,
        raw: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        sock: socket.socket | None,
    ) -> None:
        self.url = url
        self.status = raw.status
        self.headers = raw.headers
        self._raw = raw
        self._connection = connection
        self._socket = sock

    def abort(self) -> None:
        """Make whoever reads this in another thread fail at once."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def read(self, limit: int) -> bytes:
        """The whole body. Raises BadResponse beyond `limit` bytes, Unreachable if it breaks off."""
        try:
            data = self._raw.read(limit + 1)
        except (OSError, http.client.HTTPException) as e:
            raise Unreachable(f'Get "{self.url}": {_reason(e)}') from e
        if len(data) > limit:
            raise BadResponse(f'Get "{self.url}": response is larger than {limit} bytes')
        length = self.headers.get("Content-Length", "")
        if self._raw.chunked is False and length.isdigit() and len(data) < min(int(length), limit):
            raise Unreachable(f'Get "{self.url}": unexpected EOF')
        return data

    def read_error(self) -> bytes:
        """The beginning of an error's body."""
        try:
            return self._raw.read(_MAX_ERROR_BODY)
        except (OSError, http.client.HTTPException):
            return b""

    def readinto(self, buffer: memoryview) -> int:
        """The next bytes of the body; 0 at its end. Raises Unreachable if it breaks off or stalls."""
        try:
            return self._raw.readinto(buffer)
        except (OSError, http.client.HTTPException) as e:
            raise Unreachable(f'Get "{self.url}": {_reason(e)}') from e

    def close(self) -> None:
        """Drop the connection."""
        self._raw.close()  # it holds the socket alone when the server closes after the answer
        self._connection.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Transport:
    """Makes requests; verify=False accepts any certificate (insecure registries)."""

    def __init__(self, *, verify: bool = True, timeout_s: float = _TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._verify = verify
        self._context: ssl.SSLContext | None = None

    def request(self, method: str, url: str, headers: Mapping[str, str]) -> Response:
        """Send a request without a body and follow redirects. Raises Unreachable, BadResponse."""
        sent = {"User-Agent": USER_AGENT, **headers}
        origin = split_url(url)
        for _ in range(_MAX_REDIRECTS):
            response = self._once(method, url, sent)
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or target is None:
                return response
            response.close()
            following = split_url(target, base=url)
            if following.scheme not in ("http", "https") or not following.hostname:
                raise BadResponse(f'{method.title()} "{url}": unsupported redirect to {following.scheme}:')
            if origin.scheme == "https" and following.scheme == "http" and self._verify:
                raise BadResponse(f'{method.title()} "{url}": refusing to be redirected from https to http')
            if (following.scheme, following.netloc) != (origin.scheme, origin.netloc):
                sent = {k: v for k, v in sent.items() if k.lower() not in ("authorization", "cookie")}
            url = following.geturl()
        raise BadResponse(f'{method.title()} "{url}": stopped after {_MAX_REDIRECTS} redirects')

    def _once(self, method: str, url: str, headers: Mapping[str, str]) -> Response:
        parts = split_url(url)
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, path, headers=dict(headers))
            sock = connection.sock  # getresponse may take it out of the connection
            return Response(url, connection.getresponse(), connection, sock)
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            raise Unreachable(
                f'{method.title()} "{url}": {_dialled(e, parts.hostname, connection.port)}'
            ) from e
        except ValueError as e:  # http.client refuses control characters in paths and headers
            connection.close()
            raise BadResponse(f'{method.title()} "{url}": {e}') from e

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        if self._context is None:
            self._context = ssl.create_default_context()
            if not self._verify:
                self._context.check_hostname = False
                self._context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._context)


def split_url(text: str, base: str = "") -> SplitResult:
    """The parts of a URL that a stranger gave, relative to `base`. Raises BadResponse."""
    try:
        parts = urlsplit(urljoin(base, text) if base else text)
        _ = parts.port  # the property checks it
    except ValueError as e:
        raise BadResponse(f'parse "{text[:200]}": {e}') from e
    return parts


def _dialled(error: Exception, host: str | None, port: int) -> str:
    """The reason as Go's net package words it, which is what users search for."""
    address = f"[{host}]:{port}" if host and ":" in host else f"{host}:{port}"
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {address}: connect: connection refused"
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(error, TimeoutError):
        return f"dial tcp {address}: i/o timeout"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(error):
        return "http: server gave HTTP response to HTTPS client"
    if isinstance(error, OSError) and error.strerror:
        return f"dial tcp {address}: connect: {error.strerror.lower()}"
    return _reason(error)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "net/http: request canceled (Client.Timeout or context cancellation while reading body)"
    if isinstance(error, (http.client.IncompleteRead, http.client.RemoteDisconnected)):
        return "unexpected EOF"
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer"
    return str(error) or type(error).__name__
