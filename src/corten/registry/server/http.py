"""HTTP/1.1 for large files: epoll and sendfile(2) in few threads, and further threads for what takes waiting.

A blob that is here is answered where its request was read, with no thread to hand it to; while bytes move,
the thread is in the kernel and holds no lock of the interpreter. Only a request whose answer has to wait for
something else than its client (an upload's bytes, a transaction, another registry), and a connection over
TLS, has a thread of its own. `TIMEOUT_S` bounds every wait for a client, `MAX_CONNECTIONS` their number; who
has kept us waiting for `_CROWDED_S` has to go if others stand in line.
"""

from __future__ import annotations

import logging
import resource
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from itertools import cycle

from corten.registry.server.clients import Clients
from corten.registry.server.connection import TIMEOUT_S, Connection, Handler

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 1000
_CROWDED_S = 2.0
_PAUSE_S = 0.1  # until there may be room
_BACKLOG = 1024
_STACK = 512 << 10
_LOOPS = 2  # so that one thinks while another is in the kernel: more would wait for the interpreter's lock


class Server:
    """Listeners and connections of one handler, which is called from many threads at once."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self._listeners: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._connections: set[Connection] = set()
        self._lock = threading.Lock()
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # a client is one, often two
        self._room = threading.BoundedSemaphore(max(1, min(MAX_CONNECTIONS, descriptors // 2)))
        self._closing = threading.Event()
        threading.stack_size(_STACK)
        self._clients = [Clients(self._forget) for _ in range(_LOOPS)]
        self._next = cycle(self._clients)

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
        deadline = time.monotonic() + grace_s
        with self._lock:
            for connection in [*self._connections]:
                connection.stop()
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._lock:
            for connection in [*self._connections]:
                connection.abort()
        for clients in self._clients:
            clients.close()
        for thread in self._threads:
            thread.join(1)

    def _accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        line = select.poll()
        line.register(listener, select.POLLIN)
        while not self._closing.is_set():
            if not self._room.acquire(timeout=_PAUSE_S):
                if line.poll(0):
                    self._make_room()
                continue
            try:
                sock, address = listener.accept()
            except OSError as e:
                self._room.release()
                if self._closing.is_set():
                    return
                log.warning("cannot accept", extra={"errno": e.errno})
                self._make_room()  # no descriptors, no memory: others have to end first
                time.sleep(_PAUSE_S)
                continue
            connection = Connection(self.handler, sock, str(address[0]), tls)
            with self._lock:
                self._connections.add(connection)
            next(self._next).add(connection)

    def _make_room(self) -> None:
        too_slow = time.monotonic() + TIMEOUT_S - _CROWDED_S
        with self._lock:
            for connection in [*self._connections]:
                if connection.deadline < too_slow:
                    connection.abort()

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
        self._room.release()
