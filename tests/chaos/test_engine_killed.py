"""kill -9 of the engine: containers live on, and afterwards it knows everything again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from engine import Engine

CONTAINERS = 50
LINES = 40
COUNT = f"i=0; while [ $i -lt {LINES} ]; do echo $1 line $i; i=$((i+1)); sleep 0.1; done"


def create(engine: Engine, name: str, command: list[str], **host: object) -> str:
    body = {"Image": "busybox", "Cmd": command, "HostConfig": host}
    status, answer = engine.request("POST", f"/v1.41/containers/create?name={name}", body)
    assert status == 201, answer
    return str(json.loads(answer)["Id"])


def start(engine: Engine, name: str) -> None:
    status, answer = engine.request("POST", f"/v1.41/containers/{name}/start")
    assert status == 204, answer


def inspect(engine: Engine, name: str) -> dict[str, dict[str, object]]:
    status, answer = engine.request("GET", f"/v1.41/containers/{name}/json")
    assert status == 200, answer
    document: dict[str, dict[str, object]] = json.loads(answer)
    return document


def logs(engine: Engine, name: str) -> list[str]:
    _, answer = engine.request("GET", f"/v1.41/containers/{name}/logs?stdout=1&stderr=1")
    text = b""
    while answer:
        size = int.from_bytes(answer[4:8], "big")
        text += answer[8 : 8 + size]
        answer = answer[8 + size :]
    return text.decode().splitlines()


def test_fifty_containers_survive(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    for number in range(CONTAINERS):
        name = f"c{number}"
        # Some end while nobody is there, with a code of their own; the others run on.
        end = f"exit {number}" if number % 2 else "sleep 300"
        create(engine, name, ["sh", "-c", f"{COUNT}; {end}", "sh", name], NetworkMode="none")
        start(engine, name)
    before = {name: inspect(engine, name)["State"]["Pid"] for name in ("c0", "c2")}
    time.sleep(1)
    engine.kill()
    time.sleep(LINES * 0.1 + 1)  # the odd ones end now
    engine.start()
    after = {name: inspect(engine, name)["State"]["Pid"] for name in before}
    assert after == before
    for number in range(CONTAINERS):
        name = f"c{number}"
        state = inspect(engine, name)["State"]
        if number % 2:
            assert (state["Status"], state["ExitCode"]) == ("exited", number)
        else:
            assert state["Status"] == "running"
        assert logs(engine, name) == [f"{name} line {n}" for n in range(LINES)]
    assert engine.run("docker", "exec", "c0", "echo", "inside").stdout == "inside\n"
    assert engine.run("docker", "stop", "-t", "0", "c0").returncode == 0
    assert inspect(engine, "c0")["State"]["ExitCode"] == 137
    assert engine.run("docker", "kill", "-s", "KILL", "c2").returncode == 0
    assert engine.run("docker", "wait", "c2").stdout == "137\n"
    assert len(engine.run("docker", "ps", "-q").stdout.split()) == CONTAINERS // 2 - 2


def test_execs_are_still_known(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()

    def execute(script: str) -> str:
        body = {"Cmd": ["sh", "-c", script], "User": "1000"}
        status, answer = engine.request("POST", "/v1.41/containers/box/exec", body)
        assert status == 201, answer
        identifier = str(json.loads(answer)["Id"])
        status, answer = engine.request("POST", f"/v1.41/exec/{identifier}/start", {"Detach": True})
        assert status == 200, answer
        return identifier

    def known(identifier: str) -> dict[str, object]:
        status, answer = engine.request("GET", f"/v1.41/exec/{identifier}/json")
        assert status == 200, answer
        document: dict[str, object] = json.loads(answer)
        return document

    def ended(identifier: str) -> object:
        while (document := known(identifier))["Running"]:
            time.sleep(0.02)
        return document["ExitCode"]

    create(engine, "box", ["sh", "-c", "mkfifo -m 666 /one /two; sleep 300"])
    start(engine, "box")
    while engine.run("docker", "exec", "box", "test", "-p", "/two", check=False).returncode:
        pass
    one, two, three = execute("read x < /one; exit 5"), execute("read x < /two; exit 6"), execute("exit 7")
    before = {identifier: known(identifier) for identifier in (one, two)}
    assert ended(three) == 7
    engine.kill()
    engine.start()
    assert {identifier: known(identifier) for identifier in (one, two)} == before
    assert ended(three) == 7
    assert set(inspect(engine, "box")["ExecIDs"]) == {one, two}
    engine.run("docker", "exec", "box", "sh", "-c", "echo > /one; echo > /two")
    assert (ended(one), ended(two)) == (5, 6)
    status, answer = engine.request("POST", f"/v1.41/exec/{one}/start", {"Detach": True})
    assert status == 409, answer


def test_killed_again_and_again_in_the_middle_of_work(engine_with_busybox: Callable[..., Engine]) -> None:
    """Whatever was acknowledged is there; whatever was not leaves nothing but a container that can be removed."""
    engine = engine_with_busybox()
    acknowledged: list[str] = []
    for number in range(8):
        script = (
            "for i in 1 2 3 4 5 6 7 8 9; do "
            f"docker run -d --name r{number}-$i --network none busybox sleep 300 && echo done r{number}-$i; done"
        )
        runner = engine.popen("sh", "-c", script)
        time.sleep(0.1 + number * 0.03)
        engine.kill()
        output, _ = runner.communicate(timeout=60)
        acknowledged += [line.split()[1] for line in output.splitlines() if line.startswith("done")]
        engine.start()
        for name in acknowledged:
            assert inspect(engine, name)["State"]["Running"] is True
    names = engine.run("docker", "ps", "-a", "--format", "{{.Names}}").stdout.split()
    assert set(acknowledged) <= set(names)
    if names:
        engine.run("docker", "rm", "-f", *names)
    assert engine.run("docker", "ps", "-aq").stdout == ""
    assert list((engine.root / "containers").iterdir()) == []


def test_automatic_removal_happens_after_a_restart(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    create(engine, "gone", ["sleep", "0.5"], NetworkMode="none", AutoRemove=True)
    start(engine, "gone")
    engine.kill()
    time.sleep(0.8)
    engine.start()
    for _ in range(100):
        if engine.request("GET", "/v1.41/containers/gone/json")[0] == 404:
            break
        time.sleep(0.05)
    assert engine.request("GET", "/v1.41/containers/gone/json")[0] == 404


def test_published_ports_answer_again(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    script = "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"
    engine.run("docker", "run", "-d", "--name", "web", "-p", "8077:80", "busybox", "sh", "-c", script)
    engine.kill()
    engine.start()
    fetch = "for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://127.0.0.1:8077/ && break; sleep 0.2; done"
    assert engine.run("busybox", "sh", "-c", fetch).stdout == "hello\n"


@pytest.mark.parametrize("live_restore", [True, False])
def test_orderly_stop(engine_with_busybox: Callable[..., Engine], live_restore: bool) -> None:
    engine = engine_with_busybox({"live-restore": live_restore, "shutdown-timeout": 2})
    create(
        engine, "polite", ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"], NetworkMode="none"
    )
    create(engine, "deaf", ["sleep", "300"], NetworkMode="none")
    for name in ("polite", "deaf"):
        start(engine, name)
    time.sleep(0.3)
    assert engine.stop() == 0
    engine.start()
    states = {name: inspect(engine, name)["State"] for name in ("polite", "deaf")}
    if live_restore:
        assert all(state["Running"] for state in states.values())
    else:
        assert {name: state["ExitCode"] for name, state in states.items()} == {"polite": 7, "deaf": 137}
