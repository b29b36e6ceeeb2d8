"""The engine is killed in the middle of a pull; the next pull goes on where that one was."""

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
