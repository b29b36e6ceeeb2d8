"""Questions that containers cannot answer for each other go to real name servers, one after another.

Every question leaves from a socket of its own, with a port chosen by the kernel and an id of ours, and an
answer must come from whom we asked (a connected socket) and repeat the question: that is what keeps
others from answering in their place.
"""

from __future__ import annotations

import os
import socket

from corten.linux.namespaces import CLONE_NEWNET, setns
from corten.supervisor.loop import READ, WRITE
from corten.wire import dns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.supervisor.loop import Loop

_TIMEOUT_S = 3.0
_MOST_SERVERS = 3
_PORT = 53
_RECEIVE_BYTES = 65535


class Forwarder:
    """Asks name servers from the host's namespace, or from a container's."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def ask(
        self,
        query: dns.Query,
        data: bytes,
        servers: list[str],
        answer: Callable[[bytes], None],
        *,
        netns_fd: int = -1,
        stream: bool = False,
    ) -> None:
        """Ask, and call `answer` with a message, in the end with SERVFAIL. data: the query as it came."""
        question = _Stream if stream else _Datagram
        question(self, query, data, servers[:_MOST_SERVERS], answer, netns_fd).next()

    def connect(self, server: str, kind: int, netns_fd: int) -> socket.socket:
        """A socket on its way to a server's port 53. Raises OSError."""
        host, _, scope = server.partition("%")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self._socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, netns_fd)
        try:
            sock.connect_ex((server if scope else host, _PORT))
        except BaseException:
            sock.close()
            raise
        return sock

    def _socket(self, family: int, kind: int, netns_fd: int) -> socket.socket:
        if netns_fd < 0:
            return socket.socket(family, kind)
        setns(netns_fd, CLONE_NEWNET)
        try:
            return socket.socket(family, kind)
        finally:
            setns(self._home, CLONE_NEWNET)


class _Question:
    """One question on its way."""

    kind = socket.SOCK_DGRAM

    def __init__(
        self,
        forwarder: Forwarder,
        query: dns.Query,
        data: bytes,
        servers: list[str],
        answer: Callable[[bytes], None],
        netns_fd: int,
    ) -> None:
        self.forwarder = forwarder
        self.query = query
        self.id = int.from_bytes(os.urandom(2), "big")
        self.data = dns.with_id(data, self.id)
        self.servers = list(servers)
        self.netns_fd = netns_fd
        self.attempt = 0
        self.sock: socket.socket | None = None
        self._answer = answer
        self._last = b""

    def next(self) -> None:
        """Ask the next server; without one, give up."""
        self._hang_up()
        while self.servers:
            server = self.servers.pop(0)
            try:
                self.sock = self.forwarder.connect(server, self.kind, self.netns_fd)
                self.begin(self.sock)
            except OSError:
                if self.sock is not None:
                    self.sock.close()
                    self.sock = None
                continue
            self._wait()
            return
        self._done(self._last or dns.reply(self.query, dns.SERVFAIL))

    def _wait(self) -> None:
        self.attempt = number = self.attempt + 1
        self.forwarder.loop.after(_TIMEOUT_S, lambda: self._late(number))

    def begin(self, sock: socket.socket) -> None:
        """Send the question, or wait until that is possible. Each transport's own."""
        raise AssertionError("a question without a transport")

    def accept(self, data: bytes) -> None:
        """A message has come in."""
        if not dns.is_answer_to(data, self.id, self.query.question):
            return
        if dns.code_of(data) in (dns.SERVFAIL, dns.REFUSED, dns.NOTIMP) and self.servers:
            self._last = dns.with_id(data, self.query.id)
            self.next()
        else:
            self._done(dns.with_id(data, self.query.id))

    def _late(self, attempt: int) -> None:
        if self.sock is not None and attempt == self.attempt:
            self.next()

    def _done(self, message: bytes) -> None:
        self._hang_up()
        self._answer(message)

    def _hang_up(self) -> None:
        if self.sock is not None:
            if self.forwarder.loop.watches(self.sock.fileno()):
                self.forwarder.loop.forget(self.sock.fileno())
            self.sock.close()
            self.sock = None


class _Datagram(_Question):
    """Over UDP."""

    def begin(self, sock: socket.socket) -> None:
        sock.send(self.data)
        self.forwarder.loop.watch(sock.fileno(), self._ready)

    def _ready(self) -> None:
        assert self.sock is not None
        try:
            data = self.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:  # nobody is listening there
            self.next()
            return
        self.accept(data)


class _Stream(_Question):
    """Over TCP, where messages have their length in front."""

    kind = socket.SOCK_STREAM

    def begin(self, sock: socket.socket) -> None:
        self._out = len(self.data).to_bytes(2, "big") + self.data
        self._in = b""
        self.forwarder.loop.watch(sock.fileno(), self._ready, WRITE)

    def _ready(self) -> None:
        assert self.sock is not None
        try:
            if self._out:
                self._out = self._out[self.sock.send(self._out) :]
                if not self._out:
                    self.forwarder.loop.change(self.sock.fileno(), READ)
                return
            data = self.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.next()
            return
        if not data:
            self.next()
            return
        self._in += data
        length = int.from_bytes(self._in[:2], "big")
        if len(self._in) < 2 + length:
            return
        message = self._in[2 : 2 + length]
        if dns.is_answer_to(message, self.id, self.query.question):
            self.accept(message)
        else:
            self.next()
