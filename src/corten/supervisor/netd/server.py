"""A container's resolver: its sockets, and the answers to what it asks."""

from __future__ import annotations

import os
import socket

from corten.supervisor.loop import READ, WRITE
from corten.supervisor.netd.egress import Grants
from corten.supervisor.netd.names import SECONDS_TO_LIVE, Names, View, records
from corten.supervisor.process import report
from corten.wire import dns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.supervisor.loop import Loop
    from corten.supervisor.netd.egress import Egress
    from corten.supervisor.netd.forward import Forwarder

_AT_ONCE = 64  # questions of one container before others have their turn
_REMEMBERED = 512  # answers of one container
_MOST_QUESTIONS = 1024  # of one container on their way to others, Docker's number; more are refused
_MOST_CONNECTIONS = 64  # over TCP, of one container
_IDLE_S = 10.0
_MOST_BYTES = 4096  # of a query


class Server:
    """Answers one container. Owns the sockets, and the descriptor of its namespace if it has one."""

    def __init__(
        self, loop: Loop, names: Names, forwarder: Forwarder, view: View, fds: list[int], netns_fd: int = -1
    ) -> None:
        """fds: the UDP and the listening TCP socket, bound inside the container."""
        self.names = names
        self.view = view
        self._loop = loop
        self._forwarder = forwarder
        self._netns_fd = netns_fd
        self._udp = socket.socket(fileno=fds[0])
        self._tcp = socket.socket(fileno=fds[1])
        self._udp.setblocking(False)
        self._tcp.setblocking(False)
        self._turn = 0
        self._waiting = 0  # questions on their way
        self._known: dict[bytes, bytes] = {}  # query without its id -> answer without its id
        self._version = -1
        self._connections: set[_Connection] = set()
        self._closed = False
        self.grants = Grants()
        self.on_refused: Callable[[str], None] = lambda name: None
        loop.watch(self._udp.fileno(), self._readable)
        loop.watch(self._tcp.fileno(), self._accept)

    def descriptors(self) -> list[int]:
        """All that another process needs in order to answer in our place; they stay ours."""
        held = [self._udp.fileno(), self._tcp.fileno(), self._netns_fd]
        return [fd for fd in held if fd >= 0]

    def change(self, names: Names, view: View) -> None:
        """The container sees something else now."""
        self.names, self.view = names, view
        self._version = -1

    def close(self) -> None:
        """The container has gone."""
        self._closed = True
        self.grants.close()
        for sock in (self._udp, self._tcp):
            self._loop.forget(sock.fileno())
            sock.close()
        for connection in list(self._connections):
            connection.close()
        if self._netns_fd >= 0:
            os.close(self._netns_fd)
            self._netns_fd = -1

    def _readable(self) -> None:
        udp = self._udp
        if self._version != self.names.version:
            self._known.clear()
            self._version = self.names.version
        for _ in range(_AT_ONCE):
            try:
                data, peer = udp.recvfrom(_MOST_BYTES)
            except OSError:
                return
            known = self._known.get(data[2:])
            if known is not None:
                self._send(data[:2] + known, peer)
            else:
                self._ask(data, peer)

    def _ask(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.parse_query(data)
        if query is None:
            return

        def answer(message: bytes) -> None:
            if not self._closed:
                self._send(message, peer)

        message, lasting = self._local(query, query.payload)
        if message is None:
            self._forward(query, data, answer, stream=False)
            return
        if lasting and len(self._known) < _REMEMBERED:
            self._known[data[2:]] = message[2:]
        answer(message)

    def _send(self, message: bytes, peer: tuple[str, int]) -> None:
        try:
            self._udp.sendto(message, peer)
        except OSError:
            pass  # its buffer is full: it asks again

    def _local(self, query: dns.Query, limit: int) -> tuple[bytes | None, bool]:
        """(answer, whether it stays the same); (None, False) if others have to be asked."""
        if query.klass == dns.IN and query.kind in (dns.A, dns.AAAA):
            hosts = self.view.hosts(self.names, query.name)
            if hosts:
                self._turn += 1
                found = records(hosts, query.kind, self._turn)
                return dns.reply(query, dns.NOERROR, found, limit), len(found) < 2
            if self.view.dotted and "." not in query.name:
                return dns.reply(query, dns.NOERROR), True
        elif query.klass == dns.IN and query.kind == dns.PTR:
            address = dns.reverse_address(query.name)
            owner = _encoded(self.view.owner(self.names, address)) if address else b""
            if owner:
                record = (dns.PTR, SECONDS_TO_LIVE, owner)
                return dns.reply(query, dns.NOERROR, [record], limit), True
        if not self.view.servers:
            return dns.reply(query, dns.SERVFAIL), True
        return None, False

    def _forward(
        self, query: dns.Query, data: bytes, answer: Callable[[bytes], None], *, stream: bool
    ) -> None:
        egress = self.view.egress
        if egress is not None:
            if not egress.allows(query):
                if egress.is_news(query.name):
                    self.on_refused(query.name)
                answer(dns.reply(query, dns.REFUSED))
                return
            data = dns.plain_query(query)
        if self._waiting >= _MOST_QUESTIONS:
            answer(dns.reply(query, dns.REFUSED))
            return
        self._waiting += 1

        def arrived(message: bytes) -> None:
            self._waiting -= 1
            if egress is not None:
                self._grant(egress, query, message)
                message = dns.with_question(message, query)
            answer(message)

        netns_fd = self._netns_fd if self.view.own else -1
        self._forwarder.ask(query, data, self.view.servers, arrived, netns_fd=netns_fd, stream=stream)

    def _grant(self, egress: Egress, query: dns.Query, message: bytes) -> None:
        try:
            self.grants.grant(egress, query.name, message)
        except OSError as error:  # then the container finds that it cannot get there
            report(error)

    # -- TCP ------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            sock, _ = self._tcp.accept()
        except OSError:
            return
        if len(self._connections) >= _MOST_CONNECTIONS:
            sock.close()
            return
        self._connections.add(_Connection(self, self._loop, sock))

    def ask_by_stream(self, data: bytes, answer: Callable[[bytes], None]) -> bool:
        """Answer a question that came over TCP; False if it is none."""
        query = dns.parse_query(data)
        if query is None:
            return False
        message, _ = self._local(query, 65535)
        if message is None:
            self._forward(query, data, answer, stream=True)
        else:
            answer(message)
        return True

    def gone(self, connection: _Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)


def _encoded(name: str) -> bytes:
    """A name as a record has it; b"" for none, and for one that is too long for DNS."""
    try:
        return dns.encode_name(name)
    except ValueError:
        return b""


class _Connection:
    """One TCP connection of a container; messages have their length in front."""

    def __init__(self, server: Server, loop: Loop, sock: socket.socket) -> None:
        self._server = server
        self._loop = loop
        self._sock = sock
        self._in = b""
        self._out = b""
        self._moved = 0
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._ready)
        self._expire(0)

    def _expire(self, moved: int) -> None:
        def check() -> None:
            if self._sock.fileno() < 0:
                return
            if self._moved == moved:
                self.close()
            else:
                self._expire(self._moved)

        self._loop.after(_IDLE_S, check)

    def _ready(self) -> None:
        self._moved += 1
        try:
            if self._out:
                self._flush()
            data = self._sock.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._in += data
        while len(self._in) >= 2:
            length = int.from_bytes(self._in[:2], "big")
            if length > _MOST_BYTES:
                self.close()
                return
            if len(self._in) < 2 + length:
                return
            message, self._in = self._in[2 : 2 + length], self._in[2 + length :]
            if not self._server.ask_by_stream(message, self._answer):
                self.close()
            if self._sock.fileno() < 0:
                return

    def _answer(self, message: bytes) -> None:
        if self._sock.fileno() < 0:
            return
        if len(self._out) > 1 << 20:  # it asks and does not read
            self.close()
            return
        self._out += len(message).to_bytes(2, "big") + message
        try:
            self._flush()
        except OSError:
            self.close()

    def _flush(self) -> None:
        try:
            self._out = self._out[self._sock.send(self._out) :]
        except BlockingIOError:
            pass
        self._loop.change(self._sock.fileno(), READ | WRITE if self._out else READ)

    def close(self) -> None:
        """Hang up."""
        if self._sock.fileno() < 0:
            return
        self._loop.forget(self._sock.fileno())
        self._sock.close()
        self._server.gone(self)
