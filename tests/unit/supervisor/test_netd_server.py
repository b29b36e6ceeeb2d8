"""What a container's resolver answers, over a real socket, and what it lets one container take."""

import socket

import pytest

from corten.supervisor.loop import Loop
from corten.supervisor.netd import server as subject
from corten.supervisor.netd.names import Names, View
from corten.supervisor.netd.server import Server
from corten.wire import dns


class SilentForwarder:
    """Name servers that do not answer (yet)."""

    def __init__(self):
        self.answers = []

    def ask(self, query, data, servers, answer, *, netns_fd=-1, stream=False):
        self.answers.append(lambda code: answer(dns.reply(query, code)))


class Resolver:
    def __init__(self, names, view):
        self.errors = []
        self.forwarder = SilentForwarder()
        udp, tcp = (socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
        for sock in (udp, tcp):
            sock.bind(("127.0.0.1", 0))
        tcp.listen()
        self.address = udp.getsockname()
        self.server = Server(
            Loop(self.errors.append), names, self.forwarder, view, [udp.detach(), tcp.detach()]
        )
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.settimeout(5)

    def ask(self, name, kind=dns.A):
        """The message to a question, None if there is none yet."""
        question = dns.encode_name(name) + bytes((0, kind, 0, dns.IN))
        self.client.sendto(b"\0\1\1\0\0\1" + bytes(6) + question, self.address)
        before = len(self.forwarder.answers)
        self.server._readable()
        return None if len(self.forwarder.answers) > before else self.client.recv(4096)

    def close(self):
        self.server.close()
        self.client.close()


@pytest.fixture
def resolver():
    names = Names()
    names.join("n1", "mine", "e1", ["x" * 70], b"\x0a\0\0\2", b"")
    resolver = Resolver(names, View(["n1"], ["192.0.2.1"]))
    yield resolver
    resolver.close()


def test_a_container_that_asks_too_much_is_refused_until_answers_come(resolver, monkeypatch):
    monkeypatch.setattr(subject, "_MOST_QUESTIONS", 2)
    assert resolver.ask("one.example") is resolver.ask("two.example") is None
    assert dns.code_of(resolver.ask("three.example")) == dns.REFUSED
    resolver.forwarder.answers[0](dns.NXDOMAIN)
    assert dns.code_of(resolver.client.recv(4096)) == dns.NXDOMAIN
    assert resolver.ask("three.example") is None


def test_who_has_a_name_that_is_too_long_for_dns_is_asked_elsewhere(resolver):
    assert resolver.ask("2.0.0.10.in-addr.arpa", dns.PTR) is None
