"""One connected byte stream that can half-close: unix socket, TCP, or TLS on TCP.

`_socket` is what `socket` wraps; the wrapper costs 7 ms of imports and adds nothing used here.
"""

from __future__ import annotations

from _socket import AF_UNIX, IPPROTO_TCP, SHUT_RDWR, SHUT_WR, SOCK_STREAM, TCP_NODELAY, getaddrinfo
from _socket import socket as Socket

from corten.client.errors import ConnectionFailed, NoEngine

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from corten.client.address import Address, TLSFiles

CHUNK_BYTES = 256 * 1024


class Transport:
    """A plain stream; `TLSTransport` has the same methods."""

    __slots__ = ("_sock",)

    def __init__(self, sock: Socket) -> None:
        self._sock = sock

    def recv(self, size: int = CHUNK_BYTES) -> bytes:
        """Some bytes; none at the end of the stream."""
        return self._sock.recv(size)

    def sendall(self, data: bytes) -> None:
        """Send everything; raises OSError."""
        self._sock.sendall(data)

    def close_write(self) -> None:
        """Tell the peer that nothing more comes; reading goes on."""
        try:
            self._sock.shutdown(SHUT_WR)
        except OSError:
            pass  # already closed by the peer

    def abort(self) -> None:
        """End both directions at once; a reader in another thread sees the end of the stream."""
        try:
            self._sock.shutdown(SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """Release the socket."""
        self._sock.close()

    def fileno(self) -> int:
        """The descriptor, for polling."""
        return self._sock.fileno()


class TLSTransport(Transport):
    """TLS over memory buffers: one thread may read while another writes, and half-close is close_notify.

    `ssl.SSLSocket` can neither: OpenSSL objects are not thread-safe, and its `unwrap` waits for the peer.
    """

    __slots__ = ("_incoming", "_lock", "_outgoing", "_tls")

    def __init__(self, sock: Socket, context: ssl.SSLContext, hostname: str) -> None:
        import ssl
        from _thread import allocate_lock

        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        self._lock = allocate_lock()
        self._handshake()

    def _handshake(self) -> None:
        import ssl

        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            else:
                return self._flush()

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._sock.sendall(data)

    def _fill(self) -> None:
        if data := self._sock.recv(CHUNK_BYTES):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def recv(self, size: int = CHUNK_BYTES) -> bytes:
        """Some bytes; none at the end of the stream."""
        import ssl

        while True:
            with self._lock:
                try:
                    return self._tls.read(size)
                except ssl.SSLWantReadError:
                    self._flush()
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
            self._fill()

    def sendall(self, data: bytes) -> None:
        """Send everything; raises OSError."""
        with self._lock:
            if data:
                self._tls.write(data)
            self._flush()

    def close_write(self) -> None:
        """Send close_notify; reading goes on (RFC 8446 section 6.1)."""
        import ssl

        with self._lock:
            try:
                self._tls.unwrap()
            except (ssl.SSLError, OSError):
                pass  # WANT_READ: the peer's own close_notify comes later
            try:
                self._flush()
            except OSError:
                pass


def connect(address: Address) -> Transport:
    """Connect; raises NoEngine with Docker's sentence when nobody listens."""
    try:
        if address.path:
            return Transport(_connected(Socket(AF_UNIX, SOCK_STREAM), address.path))
        if address.ssh is not None:
            from corten.client import ssh

            return Transport(ssh.connect(address))
        sock = _connect_tcp(address.host, address.port)
    except PermissionError as e:
        raise NoEngine(_denied(address.text, e), denied=True) from e
    except OSError as e:
        raise NoEngine(cannot_connect(address.text)) from e
    return _start_tls(sock, address) if address.tls else Transport(sock)


def _connected(sock: Socket, where: str | tuple[object, ...]) -> Socket:
    try:
        sock.connect(where)
    except OSError:
        sock.close()
        raise
    return sock


def _connect_tcp(host: str, port: int) -> Socket:
    failure: OSError | None = None
    for family, kind, proto, _, where in getaddrinfo(host, port, 0, SOCK_STREAM):
        try:
            sock = _connected(Socket(family, kind, proto), where)
        except OSError as e:
            failure = e
        else:
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            return sock
    raise failure or OSError("no address")


def _start_tls(sock: Socket, address: Address) -> Transport:
    import ssl

    assert address.tls
    try:
        return TLSTransport(sock, _tls_context(address.tls), address.host)
    except (ssl.SSLError, OSError) as e:
        sock.close()
        raise ConnectionFailed(f"error during connect: {address.text}: {e}") from e


def _tls_context(files: TLSFiles) -> ssl.SSLContext:
    import os

    from corten.wire.tls import client_context

    shown = files.cert and (files.verify or os.path.exists(files.cert))
    return client_context(
        files.ca if files.verify and files.ca else None,
        certificates=[(files.cert, files.key)] if shown else [],
        verify=files.verify,
    )


def cannot_connect(where: str) -> str:
    """The sentence for an address nobody answers at."""
    return f"Cannot connect to the Corten daemon at {where}. Is the corten daemon running?"


def _denied(where: str, error: OSError) -> str:
    return (
        "permission denied while trying to connect to the Corten daemon socket at "
        f"{where}: {(error.strerror or '').lower()}"
    )
