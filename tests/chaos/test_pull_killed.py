"""The engine is killed in the middle of a pull; the next pull goes on where that one was."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engine import Engine
from sandbox import child_of

# A registry inside the engine's namespaces. The first time, the layer's second half never comes.
_REGISTRY = """
import random, sys, threading
sys.path.insert(0, sys.argv[1])
from imagefiles import Sample, sha256
from registry_server import Registry
sample = Sample(random.Random(3).randbytes(4 << 20))
layer = sha256(sample.blobs[0])
registry = Registry()
registry.add("x", "1", sample)
handler = registry._server.RequestHandlerClass
original = handler.blobs
def blobs(self, name, which):
    if which != layer:
        return original(self, name, which)
    print(self.headers.get("Range"), flush=True)
    if self.headers.get("Range"):
        return original(self, name, which)
    content = sample.blobs[0]
    self.send_response(200)
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    self.wfile.write(content[: 2 << 20])
    self.wfile.flush()
    threading.Event().wait()
handler.blobs = blobs
with registry:
    print(registry.host, layer, sample.id, flush=True)
    threading.Event().wait()
"""
# Another, with an attested image: what is asked for is told, and the blob or manifest of that number comes never.
_STALLING = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from imagefiles import Attestation, Sample
from registry_server import Registry
sample = Sample()
registry = Registry()
registry.add_attested("x", "1", sample, Attestation(sample))
stalled = int(sys.argv[2])
asked = 0
counting = threading.Lock()
def watched(original):
    def answer(self, name, which):
        global asked
        with counting:  # Blobs are asked for side by side.
            asked += 1
            mine = asked
            print(mine, flush=True)
        if mine == stalled:
            threading.Event().wait()
        return original(self, name, which)
    return answer
handler = registry._server.RequestHandlerClass
handler.blobs, handler.manifests = watched(handler.blobs), watched(handler.manifests)
with registry:
    print(registry.host, flush=True)
    threading.Event().wait()
"""
_TIMEOUT_S = 20


def test_the_next_pull_goes_on(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    registry = engine.popen(sys.executable, "-c", _REGISTRY, str(Path(__file__).parents[1]))
    assert registry.stdout is not None
    host, layer, image = registry.stdout.readline().split()
    pull = engine.popen("docker", "pull", f"{host}/x:1")
    assert registry.stdout.readline() == "None\n"
    partial = engine.root / "blobs" / "partial" / layer[7:]
    deadline = time.monotonic() + _TIMEOUT_S
    while not partial.exists() or partial.stat().st_size < 2 << 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    engine.kill()
    pull.communicate(timeout=_TIMEOUT_S)
    assert partial.stat().st_size == 2 << 20

    engine.start()
    assert engine.run("docker", "pull", "-q", f"{host}/x:1").stdout == f"{host}/x:1\n"
    # Between the lines the server complains of the connection that was killed.
    asked = next(line for line in registry.stdout if line.startswith("bytes="))
    start = int(asked.removeprefix("bytes=").rstrip("-\n"))
    assert (2 << 20) - 8192 <= start <= 2 << 20
    assert engine.run("docker", "image", "inspect", "-f", "{{.Id}}", f"{host}/x:1").stdout == f"{image}\n"
    assert os.listdir(engine.root / "blobs" / "partial") == []
    os.kill(child_of(registry.pid), signal.SIGKILL)
    registry.communicate()


def test_killed_at_each_step_of_a_pull(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    # The index, the attestation's manifest, its first statement, the configuration, the second layer.
    for stalled in range(1, 10, 2):
        _kill_at(engine, stalled)


def _kill_at(engine: Engine, stalled: int) -> None:
    here = str(Path(__file__).parents[1])
    registry = engine.popen(sys.executable, "-c", _STALLING, here, str(stalled))
    assert registry.stdout is not None
    name = f"{registry.stdout.readline().strip()}/x:1"
    pull = engine.popen("docker", "pull", name)
    while registry.stdout.readline() != f"{stalled}\n":
        pass
    engine.kill()
    pull.communicate(timeout=_TIMEOUT_S)
    engine.start()
    assert json.loads(engine.request("POST", "/system/fsck")[1])["Findings"] == []
    assert engine.run("docker", "images", "-aq").stdout == ""
    engine.run("docker", "pull", "-q", name)
    status, answer = engine.request("GET", f"/images/{name}/attestations")
    assert (status, len(json.loads(answer))) == (200, 2)
    assert json.loads(engine.request("POST", "/system/fsck")[1])["Findings"] == []
    engine.run("docker", "rmi", name)
    os.kill(child_of(registry.pid), signal.SIGKILL)
    registry.communicate()
