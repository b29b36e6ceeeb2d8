"""A server that has room for no more clients: those who stall have to go, nobody else."""

import http.client
import os
import resource
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress

import pytest

from corten.registry.server import http as server_module
from corten.registry.server.errors import WouldWait
from corten.registry.server.http import Server
from corten.registry.server.messages import FileBody, OpenFile, Reply

HUGE = 64 << 20  # more than any socket's buffer
HEAD = b" HTTP/1.1\r\nHost: x\r\n"


class Service:
    """Answers /huge, takes bodies for /put, and answers /slow when it is told to."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "huge")
        with open(self.path, "wb") as file:
            file.truncate(HUGE)
        self.thinking, self.thought = threading.Event(), threading.Event()

    def __call__(self, request):
        if request.path == "/huge":
            return Reply(200, {}, FileBody(OpenFile(os.open(self.path, os.O_RDONLY)), 0, HUGE))
        if request.path in ("/put", "/slow"):
            if not request.may_wait:
                raise WouldWait
            if request.path == "/slow":
                self.thinking.set()
                assert self.thought.wait(20)
            return Reply(200, {}, request.body.read(100))
        return Reply(200, {}, b"fine")


@pytest.fixture
def service(tmp_path):
    return Service(tmp_path)


@pytest.fixture
def start(service, monkeypatch):
    """start(room): a server's port."""
    monkeypatch.setattr(server_module, "_CROWDED_S", 0.2)
    with ExitStack() as stack:

        def started(room):
            monkeypatch.setattr(server_module, "MAX_CONNECTIONS", room)
            server = Server(service)
            stack.callback(server.close)
            return server.listen("127.0.0.1", 0)

        yield started


def ask(port):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", "/")
        return connection.getresponse().read()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HT",
        b"GET /" + HEAD + b"\r\n",
        b"GET /huge" + HEAD + b"\r\n",
        b"PUT /put" + HEAD + b"Content-Length: 8\r\n\r\nhalf",
    ],
)
def test_who_stalls_has_to_go(start, said):
    port = start(room=1)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stalled:
        stalled.sendall(said)
        assert [ask(port), ask(port)] == [b"fine"] * 2
        received = 0
        with suppress(ConnectionResetError):
            while data := stalled.recv(1 << 20):
                received += len(data)
        assert received < HUGE


def test_who_waits_for_us_may_stay(start, service):
    port = start(room=2)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as patient,
        socket.create_connection(("127.0.0.1", port), timeout=20),
    ):
        patient.sendall(b"GET /slow" + HEAD + b"Content-Length: 4\r\n\r\n")
        assert service.thinking.wait(20)
        assert ask(port) == b"fine"  # the other one has gone
        service.thought.set()
        patient.sendall(b"body")
        answer = patient.recv(1000)
        while not answer.endswith(b"body"):
            assert (more := patient.recv(1000))
            answer += more
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_nobody_has_to_go_for_nobody(start):
    port = start(room=1)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        for wait_s in (0, 0.5):
            time.sleep(wait_s)  # longer than those are borne with who keep others out
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"fine"
            connection.auto_open = 0


def test_there_is_room_for_no_more_than_descriptors_allow(start, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2, 2))
    port = start(room=1000)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stalled:
        assert ask(port) == b"fine"
        assert stalled.recv(1) == b""
