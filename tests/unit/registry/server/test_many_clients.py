"""Two hundred clients at once, against the registry as a process of its own."""

import random
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry_client import Client, sha256

CLIENTS = 200
SHARED = random.Random(1).randbytes(1 << 20)
MEMORY_KB = 150_000


@pytest.fixture
def registry(tmp_path):
    program = Path(sys.executable).with_name("corten-registry")
    command = [str(program), "--listen", "127.0.0.1:0", "--root", str(tmp_path / "registry")]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process,
        ThreadPoolExecutor(1) as reader,
    ):
        port = int(process.stderr.readline().rpartition(":")[2])
        rest = reader.submit(process.stderr.read)
        yield Client(port), process.pid
        process.terminate()
        assert process.wait() == 0
        assert rest.result() == ""  # no complaints


def test_all_are_served_and_memory_is_bounded(registry):
    client, pid = registry
    shared = client.push_blob("base", SHARED)
    ready = threading.Barrier(CLIENTS)

    def work(number):
        layer = random.Random(number).randbytes(128 << 10)
        ready.wait()
        digest = client.push_image(f"team/app{number % 10}", f"v{number}", layer)
        assert client("GET", f"/v2/base/blobs/{shared}")[2] == SHARED
        status, headers, raw = client("GET", f"/v2/team/app{number % 10}/manifests/v{number}")
        assert (status, headers["Docker-Content-Digest"], sha256(raw)) == (200, digest, digest)
        assert client("GET", f"/v2/team/app{number % 10}/blobs/{sha256(layer)}")[2] == layer

    with ThreadPoolExecutor(CLIENTS) as threads:
        for done in [threads.submit(work, number) for number in range(CLIENTS)]:
            done.result()
    peak = Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]
    assert int(peak) < MEMORY_KB


def test_clients_that_stand_still_keep_nobody_waiting(registry):
    client, _ = registry
    shared = client.push_blob("base", SHARED)
    with ThreadPoolExecutor(CLIENTS) as threads:
        idle = list(threads.map(lambda _: begun(client, shared), range(CLIENTS)))
    assert client("GET", f"/v2/base/blobs/{shared}")[2] == SHARED
    for connection in idle:
        connection.close()


def begun(client, digest):
    """A connection whose client has asked and does not read."""
    connection = socket.create_connection(("127.0.0.1", client.port))
    connection.sendall(f"GET /v2/base/blobs/{digest} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert connection.recv(1) == b"H"
    return connection
