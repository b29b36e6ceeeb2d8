"""HTTP/1.1 for large files: a thread per connection, blocking calls, sendfile(2).

While bytes move, the thread is in the kernel and holds no lock of the interpreter; only heads cost Python.
The kernel's socket timeouts bound every wait, `MAX_CONNECTIONS` the number of threads.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from corten.registry.server.errors import Refused
from corten.registry.server.messages import BodyBroken, FileBody, Reply, Request, RequestBody, StreamBody
from corten.wire.head import BadHead, Head
from corten.wire.http1 import CONTINUE, REASONS

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
_BACKLOG = 1024
_TIMEOUT_S = 60
_HEAD_S = 30  # a started head must be complete after this
_MAX_HEAD = 64 << 10
_RECEIVE = 256 << 10
_DISCARD = 1 << 20  # an unread body up to this is skipped to keep the connection
_SENDFILE = 1 << 30  # sendfile(2) takes at most 2 GiB at once
_LINGER_S = 2
_STACK = 512 << 10

Handler = Callable[[Request], Reply]


class Server:
    """Listeners and connections of one handler, which is called from many threads at once."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.busy = 0
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._closing = threading.Event()

    def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Serve on an address (host "": all of them); returns the port. Raises OSError."""
        family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
        if not host and not socket.has_dualstack_ipv6():
            family = socket.AF_INET
        dualstack = not host and family == socket.AF_INET6
        listener = socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=dualstack
        )
        self._listeners.append(listener)
        thread = threading.Thread(target=self._accept, args=(listener, tls), name="accept", daemon=True)
        self._threads.append(thread)
        thread.start()
        number: int = listener.getsockname()[1]
        return number

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def close(self, grace_s: float = 10) -> None:
        """Accept no more, let running requests end for up to grace_s, drop the rest."""
        self._closing.set()
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            listener.close()
        for thread in self._threads:
            thread.join(1)
        deadline = time.monotonic() + grace_s
        with self._lock:
            for connection in [*self._connections]:
                connection.stop()
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._lock:
            for connection in [*self._connections]:
                connection.abort()

    def _accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        threading.stack_size(_STACK)
        while not self._closing.is_set():
            self._room.acquire()
            try:
                sock, address = listener.accept()
            except OSError as e:
                self._room.release()
                if self._closing.is_set():
                    return
                log.warning("cannot accept", extra={"errno": e.errno})
                time.sleep(0.1)  # no descriptors, no memory: others have to end first
                continue
            connection = _Connection(self, sock, str(address[0]), tls)
            with self._lock:
                self._connections.add(connection)
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError:  # no room for another thread: this client has to come again
                log.warning("cannot start a thread for a connection")
                sock.close()
                self._forget(connection)

    def _serve(self, connection: _Connection) -> None:
        try:
            connection.serve()
        finally:
            self._forget(connection)

    def _forget(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
        self._room.release()


class _Connection:
    """One client: requests in, replies out, in order."""

    def __init__(self, server: Server, sock: socket.socket, peer: str, tls: ssl.SSLContext | None) -> None:
        self._server = server
        self._socket = sock
        self._peer = peer.removeprefix("::ffff:")
        self._tls = tls
        self._rest = b""
        self._idle = True
        self._stopping = False

    def stop(self) -> None:
        """End after the request that is being answered."""
        self._stopping = True
        if self._idle:
            self.abort()

    def abort(self) -> None:
        """End now."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Answer until the client has had enough."""
        try:
            self._prepare()
            while not self._stopping and self._one_request():
                pass
            self._linger()
        except OSError:  # the client is gone, too slow, or does not speak TLS
            pass
        finally:
            self._socket.close()

    def _linger(self) -> None:
        """Let the client read our last words: to close with unread bytes is a reset, which takes them."""
        self._socket.shutdown(socket.SHUT_WR)
        self._socket.settimeout(_LINGER_S)
        left = _DISCARD
        while left > 0 and (data := self._socket.recv(_RECEIVE)):
            left -= len(data)

    def _prepare(self) -> None:
        sock = self._socket
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            sock.settimeout(_TIMEOUT_S)
            self._socket = self._tls.wrap_socket(sock, server_side=True)
            return
        # The kernel's own timeouts: with Python's, every call would be poll(2) and a non-blocking one.
        limit = struct.pack("@ll", _TIMEOUT_S, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    # -- in -------------------------------------------------------------------------------------

    def _receive(self) -> bytes:
        return self._socket.recv(_RECEIVE)

    def _one_request(self) -> bool:
        self._idle = True
        data = self._read_head()
        if data is None:
            return False
        self._idle = False
        try:
            head = Head(data)
            decoder = head.body_decoder()
        except BadHead as e:
            self._send(Reply(e.status, {"Content-Type": "text/plain"}, f"{e}\n".encode()), close=True)
            return False
        body = RequestBody(
            decoder,
            self._rest,
            self._receive,
            (lambda: self._socket.sendall(CONTINUE)) if head.expects_continue else None,
        )
        request = Request(
            head.method.decode("latin-1"), head.target, head.headers, body, self._peer, self._tls is not None
        )
        keep = self._answer(request, head.keep_alive)
        self._rest = body.rest
        return keep

    def _read_head(self) -> bytes | None:
        data = self._rest
        started = time.monotonic()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > _MAX_HEAD or (data and time.monotonic() - started > _HEAD_S):
                self._refuse_head()
                return None
            more = self._receive()
            if not more:
                return None
            if not data:
                started = time.monotonic()
                if not more[:1].isalpha():  # TLS to a plain listener: say no at once, so that it tries plain
                    self._send(Reply(400), close=True)
                    return None
            data += more
        if end > _MAX_HEAD:
            self._refuse_head()
            return None
        self._rest = data[end + 4 :]
        return data[: end + 4]

    def _refuse_head(self) -> None:
        self._send(Reply(431), close=True)

    # -- out ------------------------------------------------------------------------------------

    def _answer(self, request: Request, keep_alive: bool) -> bool:
        self._server.busy += 1
        try:
            reply = self._handled(request)
            keep = keep_alive and not self._stopping and self._skip_body(request)
            self._send(reply, close=not keep, head_only=request.method == "HEAD")
            return keep
        finally:
            self._server.busy -= 1

    def _handled(self, request: Request) -> Reply:
        try:
            return self._server.handler(request)
        except Refused as e:
            return Reply(e.status, {"Content-Type": "application/json", **e.headers}, e.document)
        except BodyBroken:
            raise
        except Exception:
            log.exception("unexpected error", extra={"path": request.path[:200]})
            error = Refused("UNKNOWN", "internal error: see the registry's log")
            return Reply(error.status, {"Content-Type": "application/json"}, error.document)

    def _skip_body(self, request: Request) -> bool:
        """Whether the connection stands at the next request."""
        if request.body.done:
            return True
        if request.body.awaits_continue or request.body.abandoned:
            return False
        left = _DISCARD
        for piece in request.body:
            left -= len(piece)
            if left < 0:
                return False
        return True

    def _send(self, reply: Reply, *, close: bool, head_only: bool = False) -> None:
        body = reply.body
        try:
            head = _head(reply, close=close)
            if head_only or reply.status in (204, 304):
                self._socket.sendall(head)
            elif isinstance(body, bytes):
                self._socket.sendall(head + body)
            elif isinstance(body, FileBody):
                self._send_file(head, body)
            else:
                self._send_stream(head, body)
        finally:
            if not isinstance(body, bytes):
                body.close()

    def _send_file(self, head: bytes, body: FileBody) -> None:
        offset, left = body.offset, body.length
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.sendall(head)
            while left:
                data = os.pread(body.fd, min(left, _RECEIVE), offset)
                if not data:
                    raise BodyBroken("file is shorter than it was")
                self._socket.sendall(data)
                offset, left = offset + len(data), left - len(data)
            return
        self._socket.sendall(head, socket.MSG_MORE)
        number = self._socket.fileno()
        while left:
            sent = os.sendfile(number, body.fd, offset, min(left, _SENDFILE))
            if not sent:
                raise BodyBroken("file is shorter than it was")
            offset, left = offset + sent, left - sent

    def _send_stream(self, head: bytes, body: StreamBody) -> None:
        self._socket.sendall(head)
        for piece in body.pieces:
            self._socket.sendall(piece)


def _head(reply: Reply, *, close: bool) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    if reply.status != 204:
        lines.append(f"Content-Length: {reply.length}")
    lines.append("Connection: close" if close else "Connection: keep-alive")  # HTTP/1.0 has to be told
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
