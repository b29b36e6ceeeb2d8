"""kill -9 of the engine in the middle of `cp`: workers and mounts go with it, container and volumes stay sound."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable

import pytest

from corten.snapshots.tar_reader import TarEntry
from engine import Engine
from imagefiles import tar


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert holds()


def workers(engine: Engine) -> list[str]:
    """Names of worker processes in the engine's pid namespace."""
    own = os.readlink(f"/proc/{engine.sandbox.pid}/ns/pid")
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as comm:
                name = comm.read().strip()
            if os.readlink(f"/proc/{pid}/ns/pid") == own and name.startswith("corten-"):
                found.append(name)
        except OSError:
            continue
    return found


def test_a_commit_that_is_cut_short_leaves_nobody_frozen(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    script = "dd if=/dev/zero of=/big bs=1M count=150; touch /done; sleep 100"
    engine.run("docker", "run", "-d", "--name", "box", "busybox", "sh", "-c", script)
    while engine.run("docker", "exec", "box", "test", "-e", "/done", check=False).returncode:
        pass
    commit = engine.popen("docker", "commit", "box", "made")
    eventually(lambda: b'"Paused":true' in engine.request("GET", "/containers/box/json")[1])
    engine.kill()
    assert commit.wait() != 0
    assert commit.stdout is not None
    commit.stdout.close()

    engine.start()
    assert json.loads(engine.request("GET", "/containers/box/json")[1])["State"]["Status"] == "running"
    assert engine.run("docker", "exec", "box", "echo", "alive").stdout == "alive\n"
    eventually(lambda: os.listdir(engine.root / "tmp") == [])
    assert engine.run("docker", "commit", "box", "made").stdout.startswith("sha256:")


@pytest.mark.parametrize("running", [True, False])
def test_half_an_upload(engine_with_busybox: Callable[..., Engine], running: bool) -> None:
    engine = engine_with_busybox()
    body = {"Image": "busybox", "Cmd": ["sleep", "100"], "HostConfig": {"Binds": ["vol:/vol"]}}
    status, answer = engine.request("POST", "/containers/create?name=box", body)
    assert status == 201, answer
    box = json.loads(answer)["Id"]
    if running:
        assert engine.request("POST", "/containers/box/start")[0] == 204
    first = tar(("vol/first", b"1"), TarEntry(b"vol/half", size=0))[:-1024]
    upload = socket.socket(socket.AF_UNIX)
    upload.connect(str(engine.socket))
    head = b"PUT /containers/box/archive?path=/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"
    upload.sendall(head + first + bytes(300_000))
    written = engine.root / "volumes/vol/_data/first"
    eventually(written.exists)
    assert "corten-write_pa" in workers(engine)
    engine.kill()
    eventually(lambda: "corten-write_pa" not in workers(engine))
    upload.close()

    engine.start()
    status, answer = engine.request("GET", f"/containers/{box}/json")
    assert json.loads(answer)["State"]["Status"] == ("running" if running else "created")
    if not running:
        assert engine.request("POST", "/containers/box/start")[0] == 204
    assert engine.run("docker", "exec", "box", "cat", "/vol/first").stdout == "1"
    assert engine.request("DELETE", "/containers/box?force=1")[0] == 204
    with open(f"/proc/{engine.sandbox.pid}/mounts") as mounts:
        assert "overlay" not in mounts.read().split()
