"""kill -9 of the engine while a container is between two states: it goes on from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engine import Engine

_VOLUME_PLUGIN = Path(__file__).parent.parent / "clients/volume_plugin.py"


def inspect(engine: Engine, name: str) -> dict[str, object]:
    status, answer = engine.request("GET", f"/v1.51/containers/{name}/json")
    assert status == 200, answer
    document: dict[str, object] = json.loads(answer)
    return document


def until(engine: Engine, name: str, what: Callable[[dict[str, object]], bool]) -> dict[str, object]:
    deadline = time.monotonic() + 30
    while not what(document := inspect(engine, name)):
        assert time.monotonic() < deadline, document
        time.sleep(0.02)
    return document


def status(document: dict[str, object]) -> object:
    state = document["State"]
    assert isinstance(state, dict)
    return state["Status"]


def test_a_back_off_goes_on(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    run = ("docker", "run", "-d", "--network", "none")
    engine.run(*run, "--name", "rr", "--restart", "on-failure:4", "busybox", "sh", "-c", "echo x; exit 3")
    until(engine, "rr", lambda d: d["RestartCount"] == 2 and status(d) == "restarting")
    engine.kill()
    engine.start()
    ended = until(engine, "rr", lambda d: status(d) == "exited")
    assert ended["RestartCount"] == 4
    assert engine.run("docker", "logs", "rr").stdout == "x\n" * 5


def test_a_paused_container_stays_paused(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    engine.run("docker", "run", "-d", "--network", "none", "--name", "pp", "busybox", "sh", "-c", script)
    while engine.run("docker", "logs", "pp").stdout != "ready\n":
        time.sleep(0.02)
    engine.run("docker", "pause", "pp")
    engine.kill()
    engine.start()
    assert status(inspect(engine, "pp")) == "paused"
    engine.run("docker", "unpause", "pp")
    engine.run("docker", "stop", "pp")
    assert engine.run("docker", "wait", "pp").stdout == "5\n"


def test_anonymous_volumes_go_though_their_removal_is_cut_short(
    engine_with_busybox: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = engine_with_busybox()
    hanging = engine.exec_root / "plugins/slow.sock"
    hanging.parent.mkdir(exist_ok=True)
    plugin = subprocess.Popen([sys.executable, "-I", str(_VOLUME_PLUGIN), str(hanging), str(tmp_path)])
    try:
        while not hanging.exists():
            time.sleep(0.01)
        engine.run(
            "docker", "create", "--name", "vv", "--network", "none", "--mount",
            "type=volume,dst=/a,volume-driver=slow", "-v", "/b", "-v", "kept:/c", "busybox", "sh",
        )  # fmt: skip
        os.kill(plugin.pid, signal.SIGSTOP)
        removing = engine.popen("docker", "rm", "-v", "vv")
        while engine.request("GET", "/v1.51/containers/vv/json")[0] != 404:
            time.sleep(0.01)
        engine.kill()
        removing.communicate()
    finally:
        plugin.kill()
        plugin.wait()
        hanging.unlink()
    engine.start()
    assert engine.run("docker", "volume", "ls", "-q").stdout == "kept\n"
    assert [each.name for each in (engine.root / "volumes").iterdir() if each.is_dir()] == ["kept"]
