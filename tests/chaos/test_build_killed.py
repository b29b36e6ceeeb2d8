"""kill -9 of the engine or the supervisor in the middle of a build's step."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine

DOCKERFILE = """\
FROM busybox
COPY file /
RUN --mount=type=secret,id=key --mount=type=cache,target=/cache \\
    echo x > /cache/kept && touch /written && {command}
"""
_WAIT_S = 20
_CORTEN = str(Path(sys.executable).with_name("corten"))


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def sleepers(engine: Engine) -> list[str]:
    return engine.run("pgrep", "-f", "sleep 4711", check=False).stdout.split()


@pytest.mark.parametrize("who", ["engine", "command"])
def test_a_step_that_is_killed_leaves_nothing(
    engine_with_busybox: Callable[..., Engine], tmp_path: Path, who: str
) -> None:
    engine = engine_with_busybox()
    steps, tmp = engine.exec_root / "build-steps", engine.root / "tmp"
    layers = set(os.listdir(engine.root / "layers"))
    (tmp_path / "file").write_text("text")
    (tmp_path / "key").write_text("the secret")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.format(command="sleep 4711"))
    build = (_CORTEN, "build", "--secret", f"id=key,src={tmp_path}/key", str(tmp_path))
    client = engine.popen(*build)
    wait_until(lambda: sleepers(engine))
    assert os.listdir(steps)
    if who == "engine":
        engine.kill()
        engine.start()
    else:
        engine.run("kill", "-9", *sleepers(engine))
    said = client.communicate()[0]
    assert client.returncode, said
    wait_until(lambda: not sleepers(engine))
    wait_until(lambda: not os.listdir(steps))
    wait_until(lambda: not [name for name in os.listdir(tmp) if name.startswith("build-")])
    assert len(set(os.listdir(engine.root / "layers")) - layers) == 1, "the copy's layer and no other"
    assert "the secret" not in said
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.format(command="cat /cache/kept"))
    assert engine.run(*build).returncode == 0, "and the same again works"
    wait_until(lambda: not os.listdir(steps))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_step_outlives_its_supervisor_and_may_end_without_one(
    engine_with_busybox: Callable[..., Engine], tmp_path: Path, end: signal.Signals
) -> None:
    engine = engine_with_busybox()
    command = "trap 'echo said; exit 0' TERM; while :; do sleep 0.1; done # 4712"
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nRUN {command}\nRUN echo the next one\n")
    client = engine.popen(_CORTEN, "build", "--progress=plain", str(tmp_path))

    def step() -> list[str]:
        return engine.run("pgrep", "-f", "^/bin/sh -c trap.*4712", check=False).stdout.split()

    wait_until(step)
    supervisor = engine.find("corten-super")
    os.kill(supervisor, signal.SIGSTOP)  # the engine replaces a dead one at once, a stopped one stays
    engine.run("kill", f"-{int(end)}", *step())
    wait_until(lambda: not step())
    os.kill(supervisor, signal.SIGKILL)
    said = client.communicate()[0]
    if end == signal.SIGKILL:
        assert "exit code: 137" in said
    else:
        assert client.returncode == 0, said
        assert " said" in said
        assert " the next one" in said
