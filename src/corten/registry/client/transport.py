"""HTTP to a registry: connections kept and used again, redirects followed with care.

Credentials stay with the host they were meant for (CVE-2020-15157): a redirect to another host or port
goes without them, and never from https to plain http.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import SplitResult, urljoin, urlsplit

from corten.registry.client.body import Body
from corten.registry.client.errors import BadResponse, Unreachable
from corten.registry.client.proxies import Proxies
from corten.wire.dialling import why_broken_off, why_not_reached
from corten.wire.tls import client_context

_TIMEOUT_S = 60.0
_MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
# With these the method and the body stay as they were (RFC 9110, 15.4); others turn into a GET.
_REPEATING = (307, 308)
_SAFE = ("GET", "HEAD")
_MAX_ERROR_BODY = 64 << 10
_MAX_IDLE = 8
_BLOCK = 256 << 10
USER_AGENT = "corten/0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """verify=False accepts any certificate. ca: files of further roots. client: (certificate, key) files."""

    verify: bool = True
    ca: Sequence[str] = ()
    client: Sequence[tuple[str, str]] = ()

    def context(self) -> ssl.SSLContext:
        """What http.client wants. Raises OSError (ssl.SSLError is one) for unusable files."""
        return client_context(further_roots=self.ca, certificates=self.client, verify=self.verify)


class Response:
    """An answer whose body is still to be read. Close it, or use it as a context manager."""

    def __init__(
        self,
        url: str,
        raw: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        transport: Transport,
    ) -> None:
        self.url = url
        self.status = raw.status
        self.headers = raw.headers
        self._raw = raw
        self._connection = connection
        self._transport = transport
        self._failed = False

    def read(self, limit: int) -> bytes:
        """The whole body. Raises BadResponse beyond `limit` bytes, Unreachable if it breaks off."""
        try:
            data = self._raw.read(limit + 1)
        except (OSError, http.client.HTTPException) as e:
            raise self._broken(e) from e
        if len(data) > limit:
            raise BadResponse(f'Get "{self.url}": response is larger than {limit} bytes')
        length = self.headers.get("Content-Length", "")
        if self._raw.chunked is False and length.isdigit() and len(data) < min(int(length), limit):
            self._failed = True
            raise Unreachable(f'Get "{self.url}": unexpected EOF')
        return data

    def read_error(self) -> bytes:
        """The beginning of an error's body."""
        try:
            return self._raw.read(_MAX_ERROR_BODY)
        except (OSError, http.client.HTTPException):
            self._failed = True
            return b""

    def readinto(self, buffer: memoryview) -> int:
        """The next bytes of the body; 0 at its end. Raises Unreachable if it breaks off or stalls."""
        try:
            return self._raw.readinto(buffer)
        except (OSError, http.client.HTTPException) as e:
            raise self._broken(e) from e

    def _broken(self, error: Exception) -> Unreachable:
        self._failed = True
        return Unreachable(f'Get "{self.url}": {why_broken_off(error)}')

    def close(self) -> None:
        """Give the connection back if the answer has been read, else drop it."""
        finished = self._raw.isclosed() and not self._raw.will_close and not self._failed
        self._raw.close()  # it holds the socket alone when the server closes after the answer
        self._transport.release(self._connection, usable=finished)

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_Key = tuple[str, str, int | None]


@dataclass(slots=True)
class _Use:
    """A connection in use: by which thread, and for what address."""

    key: _Key
    thread: int
    sock: socket.socket | None = None


class Transport:
    """Makes requests, from any thread. Close it, or use it as a context manager, when no more will come.

    Requests that come all the same, from whoever shares it, are made over connections that nobody keeps.
    """

    def __init__(
        self,
        *,
        tls: TlsSettings | None = None,
        proxies: Proxies | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._timeout_s = timeout_s
        self._tls = tls or TlsSettings()
        self._proxies = proxies or Proxies()
        self._context: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._idle: list[tuple[_Key, http.client.HTTPConnection]] = []
        self._busy: dict[http.client.HTTPConnection, _Use] = {}
        self._aborted = False
        self._keeping = True

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None
    ) -> Response:
        """Send a request and follow redirects. Raises Unreachable, BadResponse."""
        sent = {"User-Agent": USER_AGENT, **headers}
        origin = split_url(url)
        for _ in range(_MAX_REDIRECTS):
            response = self._once(method, url, sent, body)
            target = response.headers.get("Location")
            followed = method in _SAFE or response.status in _REPEATING
            if response.status not in _REDIRECTS or target is None or not followed:
                return response
            response.close()
            following = split_url(target, base=url)
            if following.scheme not in ("http", "https") or not following.hostname:
                raise BadResponse(f'{method.title()} "{url}": unsupported redirect to {following.scheme}:')
            if origin.scheme == "https" and following.scheme == "http" and self._tls.verify:
                raise BadResponse(f'{method.title()} "{url}": refusing to be redirected from https to http')
            if not same_host(following, origin):
                sent = {k: v for k, v in sent.items() if k.lower() not in ("authorization", "cookie")}
            url = following.geturl()
        raise BadResponse(f'{method.title()} "{url}": stopped after {_MAX_REDIRECTS} redirects')

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Response:
        parts = split_url(url)
        key = (parts.scheme, parts.hostname or "", parts.port)
        while True:
            connection, used = self._take(key)
            try:
                return self._exchange(connection, method, url, headers, body)
            except (OSError, http.client.HTTPException) as e:
                self.release(connection, usable=False)
                if used and body is None and not self._aborted and not isinstance(e, TimeoutError):
                    continue  # the server had closed a connection that was kept: that says nothing yet
                reason = why_not_reached(e, parts.hostname, connection.port)
                raise Unreachable(f'{method.title()} "{url}": {reason}') from e
            except ValueError as e:  # http.client refuses control characters in paths and headers
                self.release(connection, usable=False)
                raise BadResponse(f'{method.title()} "{url}": {e}') from e

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
    ) -> Response:
        parts = split_url(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fields = dict(headers)
        proxy = self._proxies.find(parts.scheme, parts.hostname or "", parts.port)
        if proxy is not None and parts.scheme == "http":
            target = f"http://{parts.netloc.rpartition('@')[2]}{target}"
            if proxy.authorization:
                fields["Proxy-Authorization"] = proxy.authorization
        if body is not None:
            fields["Content-Length"] = str(body.length)
        elif method not in _SAFE:
            fields["Content-Length"] = "0"
        try:
            connection.request(method, target, headers=fields, body=body.open() if body else None)
        except (BrokenPipeError, ConnectionResetError):
            if body is None or connection.sock is None:
                raise
            # The server had its answer before it had the body; it is the better error.
        with self._lock:
            if (use := self._busy.get(connection)) is not None:
                use.sock = connection.sock  # getresponse may take it out of the connection
        return Response(url, connection.getresponse(), connection, self)

    # -- connections ----------------------------------------------------------------------------

    def _take(self, key: _Key) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it has been used before."""
        with self._lock:
            if self._aborted:
                raise Unreachable("request was cancelled")
            for at, (idle, connection) in reversed(list(enumerate(self._idle))):
                if idle != key:
                    continue
                del self._idle[at]
                if _is_stale(connection):
                    connection.close()
                    continue
                self._busy[connection] = _Use(key, threading.get_ident(), connection.sock)
                return connection, True
        connection = self._new(*key)
        with self._lock:
            self._busy[connection] = _Use(key, threading.get_ident())
        return connection, False

    def release(self, connection: http.client.HTTPConnection, *, usable: bool) -> None:
        """Take back a connection that `request` gave out in a Response."""
        with self._lock:
            use = self._busy.pop(connection, None)
            if use is not None and usable and self._keeping and len(self._idle) < _MAX_IDLE:
                self._idle.append((use.key, connection))
                return
        connection.close()

    def abort(self, thread: int | None = None) -> None:
        """End the requests that a thread (None: any) has under way; None: and refuse further ones."""
        with self._lock:
            if thread is None:
                self._aborted = True
            uses = [use for use in self._busy.items() if thread in (None, use[1].thread)]
        for connection, use in uses:
            sock = use.sock or connection.sock
            with suppress(OSError):
                if sock is not None:
                    sock.shutdown(socket.SHUT_RDWR)
        if thread is None:
            self.close()

    def close(self) -> None:
        """Close the connections that nobody uses, and those in use after their answers."""
        with self._lock:
            self._keeping = False
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _new(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        proxy = self._proxies.find(scheme, host, port)
        at, at_port = (proxy.host, proxy.port) if proxy is not None else (host, port)
        if scheme == "http":
            return http.client.HTTPConnection(at, at_port, timeout=self._timeout_s, blocksize=_BLOCK)
        with self._lock:
            if self._context is None:
                try:
                    self._context = self._tls.context()
                except OSError as e:
                    raise BadResponse(f"cannot use the certificates configured for {host}: {e}") from e
        connection = http.client.HTTPSConnection(
            at, at_port, timeout=self._timeout_s, context=self._context, blocksize=_BLOCK
        )
        if proxy is not None:
            fields = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            connection.set_tunnel(host, port or 443, fields)
        return connection


def _is_stale(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has closed a connection that nothing was asked on (or said something unasked)."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def same_host(one: SplitResult, other: SplitResult) -> bool:
    """Whether credentials for one are fine for the other."""
    return (one.scheme, one.netloc) == (other.scheme, other.netloc)


def split_url(text: str, base: str = "") -> SplitResult:
    """The parts of a URL that a stranger gave, relative to `base`. Raises BadResponse."""
    try:
        parts = urlsplit(urljoin(base, text) if base else text)
        _ = parts.port  # the property checks it
    except ValueError as e:
        raise BadResponse(f'parse "{text[:200]}": {e}') from e
    return parts
