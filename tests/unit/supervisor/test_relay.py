"""What the relay makes of connections and datagrams: everything arrives, ends arrive as ends, nothing stays open."""

import hashlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from corten.supervisor.loop import Loop
from corten.supervisor.relay import datagrams
from corten.supervisor.relay.datagrams import DatagramPort
from corten.supervisor.relay.process import Relay
from corten.supervisor.relay.streams import StreamPort

TIMEOUT_S = 10.0


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop in a thread, and a way to do something there."""
    errors: list[BaseException] = []
    running = Loop(errors.append)
    yield running
    assert errors == []


def run(loop: Loop) -> threading.Thread:
    thread = threading.Thread(target=loop.run)
    thread.start()
    return thread


def stop(loop: Loop, thread: threading.Thread, close: object) -> None:
    """End the loop from within, so that nothing of it is used by two threads."""
    reader, writer = os.pipe()

    def end() -> None:
        loop.forget(reader)
        close()  # type: ignore[operator]
        loop.running = False

    loop.watch(reader, end)
    os.write(writer, b"x")
    thread.join()
    os.close(reader)
    os.close(writer)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """The container's."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(TIMEOUT_S)
        yield sock


@pytest.fixture
def published(loop: Loop, server: socket.socket) -> Iterator[tuple[str, int]]:
    """Where clients connect to."""
    listener = socket.create_server(("127.0.0.1", 0))
    address: tuple[str, int] = listener.getsockname()
    before = set(os.listdir("/proc/self/fd"))
    port = StreamPort(loop, listener, server.getsockname())
    thread = run(loop)
    yield address
    stop(loop, thread, port.close)
    left = set(os.listdir("/proc/self/fd")) - before
    assert not [fd for fd in left if _is_socket(fd)]


def _is_socket(fd: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except OSError:
        return False


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, TIMEOUT_S)


def accept(server: socket.socket) -> socket.socket:
    accepted, _ = server.accept()
    accepted.settimeout(TIMEOUT_S)
    return accepted


def digest_of(sock: socket.socket) -> str:
    """Of all that comes until the end."""
    found = hashlib.sha256()
    while data := sock.recv(65536):
        found.update(data)
    return found.hexdigest()


def test_much_both_ways_at_once(server: socket.socket, published: tuple[str, int]) -> None:
    data, other = os.urandom(5_000_000), os.urandom(3_000_001)
    digests: dict[str, str] = {}
    with connect(published) as client, accept(server) as inside:

        def send(sock: socket.socket, what: bytes) -> None:
            sock.sendall(what)
            sock.shutdown(socket.SHUT_WR)

        def receive(name: str, sock: socket.socket) -> None:
            digests[name] = digest_of(sock)

        threads = [
            threading.Thread(target=send, args=(client, data)),
            threading.Thread(target=send, args=(inside, other)),
            threading.Thread(target=receive, args=("inside", inside)),
            threading.Thread(target=receive, args=("client", client)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert digests == {
        "inside": hashlib.sha256(data).hexdigest(),
        "client": hashlib.sha256(other).hexdigest(),
    }


def test_a_client_that_has_said_all_still_hears(server: socket.socket, published: tuple[str, int]) -> None:
    with connect(published) as client, accept(server) as inside:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert inside.recv(100) == b"question"
        assert inside.recv(100) == b""
        inside.sendall(b"answer")
        inside.close()
        assert client.recv(100) == b"answer"
        assert client.recv(100) == b""


def test_a_reset_is_a_reset(server: socket.socket, published: tuple[str, int]) -> None:
    with connect(published) as client, accept(server) as inside:
        inside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        inside.close()
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_nobody_there_is_a_reset(server: socket.socket, published: tuple[str, int]) -> None:
    server.close()
    with pytest.raises(ConnectionResetError), connect(published) as client:  # perhaps before we know of it
        client.recv(100)


def test_what_is_not_read_waits(server: socket.socket, published: tuple[str, int]) -> None:
    """A receiver that stops holds its sender up, and others are served meanwhile."""
    with connect(published) as client, accept(server) as inside:
        client.setblocking(False)
        sent = 0
        while sent < 50_000_000:
            try:
                sent += client.send(bytes(1 << 16))
            except BlockingIOError:
                with connect(published) as another, accept(server) as beside:
                    another.sendall(b"hello")
                    assert beside.recv(5) == b"hello"
                try:
                    client.send(b"x")
                    sent += 1
                except BlockingIOError:
                    break
        assert sent < 50_000_000
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        received = 0
        while data := inside.recv(1 << 20):
            received += len(data)
        assert received == sent


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_come_back_from_where_they_were_sent(loop: Loop, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_DGRAM)
    listener.bind(("::" if ":" in host else "0.0.0.0", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
        inside.bind(("127.0.0.1", 0))
        inside.settimeout(TIMEOUT_S)
        port = DatagramPort(loop, listener, inside.getsockname())
        address = (host, listener.getsockname()[1])
        thread = run(loop)
        try:
            seen = set()
            for number in range(3):
                with socket.socket(family, socket.SOCK_DGRAM) as client:
                    client.settimeout(TIMEOUT_S)
                    client.connect(address)  # so that answers from elsewhere are not taken
                    for _ in range(2):
                        client.send(b"ping%d" % number)
                        data, peer = inside.recvfrom(100)
                        assert data == b"ping%d" % number
                        seen.add(peer)
                        inside.sendto(b"pong", peer)
                        assert client.recv(100) == b"pong"
            assert len(seen) == 3
        finally:
            stop(loop, thread, port.close)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answers_on_their_way_find_the_client_through_another_relay(loop: Loop, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_DGRAM)
    listener.bind((host, 0))
    with socket.socket(family, socket.SOCK_DGRAM) as client, socket.socket(type=socket.SOCK_DGRAM) as inside:
        for sock in (client, inside):
            sock.settimeout(TIMEOUT_S)
        inside.bind(("127.0.0.1", 0))
        client.connect(listener.getsockname())
        before = DatagramPort(loop, listener, inside.getsockname())
        client.send(b"question")
        before._readable()
        data, peer = inside.recvfrom(100)
        assert data == b"question"
        inside.sendto(b"on its way", peer)

        sent = json.dumps([client for client, _ in before.bequest()])
        fds = [os.dup(fd) for _, fd in before.bequest()]
        passed_on = socket.socket(fileno=os.dup(listener.fileno()))
        before.leave()
        inside.sendto(b"to nobody", peer)
        inherited = zip(json.loads(sent), fds, strict=True)
        after = DatagramPort(loop, passed_on, inside.getsockname(), inherited)
        thread = run(loop)
        try:
            assert client.recv(100) == b"on its way"
            assert client.recv(100) == b"to nobody"
            client.send(b"another")
            assert inside.recvfrom(100) == (b"another", peer)
        finally:
            stop(loop, thread, after.close)


def test_what_another_relay_left_is_left_to_the_next_one() -> None:
    """It may have to go before the engine has said where its ports lead."""
    sent: list[tuple[object, list[int]]] = []
    peer = SimpleNamespace(send=lambda message, fds: sent.append((message, fds)), send_rest=lambda: None)
    client = ["127.0.0.1", "aa"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind("")
        listener.listen()
        relay = Relay(listener)
        held = [os.dup(0), os.dup(0)]
        relay._inherit({"inherit": [["53/udp", 1], [["53/udp", client], 1]]}, [*held])
        relay._shutdown(peer, heir=True)  # type: ignore[arg-type]
        assert sent == [({"inherit": [("53/udp", 1), (("53/udp", client), 1)]}, held)]
        relay._close("53/udp")


def test_a_client_is_led_to_where_the_container_is_now(loop: Loop) -> None:
    listener = socket.socket(type=socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    with ExitStack() as stack:
        client, *inside = (stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(3))
        port = DatagramPort(loop, listener, ("127.0.0.1", 1))
        for each in inside:
            each.bind(("127.0.0.1", 0))
            each.settimeout(TIMEOUT_S)
            port.target = each.getsockname()
            client.sendto(b"question", listener.getsockname())
            port._readable()
            assert each.recv(100) == b"question"
        port.close()


def test_who_has_been_silent_for_long_makes_room(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "_MOST_FLOWS", 2)
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    with ExitStack() as stack:
        inside, *clients = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(4)
        )
        inside.bind(("127.0.0.1", 0))
        inside.settimeout(TIMEOUT_S)
        port = DatagramPort(loop, listener, inside.getsockname())
        thread = run(loop)
        try:
            flows = []
            for number in (0, 1, 0, 2, 0, 1):
                clients[number].sendto(b"ping", listener.getsockname())
                flows.append(inside.recvfrom(100)[1])
            assert flows[0] == flows[2] == flows[4]
            assert len(port._flows) == 2
        finally:
            stop(loop, thread, port.close)
