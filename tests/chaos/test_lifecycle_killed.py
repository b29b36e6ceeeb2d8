"""kill -9 of the engine while a container is between two states: it goes on from there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from engine import Engine


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
