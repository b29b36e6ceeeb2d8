"""Checkpoints: a container's processes go on where they were. Needs a criu that works with this kernel."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from calls import Api, load_image

from corten.engine.containers import checkpoints
from corten.errors import InternalError
from engine import Engine

_WORKS = (
    shutil.which("criu") is not None
    and subprocess.run(["criu", "check"], capture_output=True, check=False).returncode == 0
)
needs_criu = [
    pytest.mark.root,
    pytest.mark.skipif(not _WORKS, reason="criu is not here, or not for this kernel (criu check)"),
]
COUNT = ("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done")


@pytest.fixture(scope="module")
def counting() -> Iterator[Api]:
    engine = Engine({"experimental": True})
    try:
        engine.start()
        load_image(engine)
        yield Api(engine)
    finally:
        engine.close()


def numbers(api: Api, container: str) -> list[int]:
    return [int(line) for line in api.logs(container)[0].split()]


def until(condition: object, *arguments: object) -> None:
    deadline = time.monotonic() + 20
    while not condition(*arguments):  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def counts_to(api: Api, container: str, number: int) -> bool:
    return len(numbers(api, container)) >= number


def create(
    api: Api, container: str, name: str, *, exit: bool = True, status: int = 201, **more: object
) -> object:
    body = {"CheckpointID": name, "Exit": exit, **more}
    return api.call("POST", f"/containers/{container}/checkpoints", body, status=status)


def test_without_criu_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InternalError) as caught:
        checkpoints._program("Cannot checkpoint container web")
    assert str(caught.value) == (
        'Cannot checkpoint container web: exec: "criu": executable file not found in $PATH'
    )


_FAKE = """#!/bin/sh
[ "$1" = dump ] || exit 0
cd "$(echo "$*" | sed 's/.*--images-dir \\([^ ]*\\).*/\\1/')"
touch begun
until [ -e {go} ]; do sleep 0.02; done
[ $(cat {go}) = 0 ] && touch stats-dump
exit $(cat {go})
"""


@pytest.mark.root
@pytest.mark.parametrize("result", [0, 1])
def test_a_dump_outlives_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: int) -> None:
    """With a criu of ours that takes its time: there is a checkpoint if it succeeds, and nothing if not."""
    program, go = tmp_path / "criu", tmp_path / "go"
    program.write_text(_FAKE.format(go=go))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    engine = Engine({"experimental": True})
    try:
        engine.start()
        load_image(engine)
        api = Api(engine)
        container = api.start("sleep", "1000")
        folder = engine.root / "containers" / container / "checkpoints"
        creating = engine.popen("docker", "checkpoint", "create", "--leave-running", container, "one")
        until((folder / ".one/begun").exists)
        assert api.call("GET", f"/containers/{container}/checkpoints") == []
        engine.kill()
        creating.communicate()
        engine.start()
        assert api.call("GET", f"/containers/{container}/checkpoints") == []
        (tmp_path / "new").write_text(str(result))
        (tmp_path / "new").rename(go)
        until(lambda: not (folder / ".one").exists())
        found = api.call("GET", f"/containers/{container}/checkpoints")
        assert found == ([] if result else [{"Name": "one"}])
        api.remove(container)
    finally:
        engine.close()


@pytest.mark.parametrize(
    "host",
    [
        {"NetworkMode": "bridge", "Memory": 50 << 20, "RestartPolicy": {"Name": "always"}},
        {"NetworkMode": "none", "Binds": ["kept:/kept"]},
        {"NetworkMode": "host", "CgroupnsMode": "host"},
    ],
)
class TestRestored:
    pytestmark = needs_criu

    def test_it_goes_on_where_it_was(self, counting: Api, host: dict[str, object]) -> None:
        container = counting.start(*COUNT, host=host)
        until(counts_to, counting, container, 5)
        create(counting, container, "first")
        assert counting.wait(container) == 137
        before = numbers(counting, container)
        assert counting.state(container)["Status"] == "exited"  # also with a restart policy
        counting.call("POST", f"/containers/{container}/start?checkpoint=first", status=204)
        until(counts_to, counting, container, len(before) + 5)
        after = numbers(counting, container)
        assert after == list(range(1, len(after) + 1))
        inside = counting.engine.run(
            "docker", "exec", container, "sh", "-c", "grep Seccomp: /proc/1/status; cat /proc/1/comm"
        )
        assert inside.stdout.split() == ["Seccomp:", "2", "sh"]
        limit = counting.call("GET", f"/containers/{container}/stats?stream=0")["memory_stats"].get("limit")
        assert not host.get("Memory") or limit == host["Memory"]
        counting.call("POST", f"/containers/{container}/kill")
        assert counting.wait(container) == 137
        counting.remove(container)
        counting.call("DELETE", "/volumes/kept?force=1", status=204)


class TestKept:
    pytestmark = needs_criu

    def test_a_running_one_goes_on(self, counting: Api, tmp_path: Path) -> None:
        container = counting.start(*COUNT)
        until(counts_to, counting, container, 3)
        create(counting, container, "one", exit=False, CheckpointDir=str(tmp_path))
        assert counting.state(container)["Running"]
        until(counts_to, counting, container, len(numbers(counting, container)) + 3)
        path = f"/containers/{container}/checkpoints"
        assert counting.call("GET", path) == []
        assert counting.call("GET", f"{path}?dir={tmp_path}") == [{"Name": "one"}]
        create(counting, container, "one", status=409, CheckpointDir=str(tmp_path))
        counting.call("DELETE", f"{path}/one?dir={tmp_path}", status=204)
        assert not list(tmp_path.iterdir())
        counting.remove(container)

    def test_the_command_line(self, counting: Api) -> None:
        run = counting.engine.run
        container = counting.start(*COUNT, name="counter")
        until(counts_to, counting, container, 3)
        assert run("docker", "checkpoint", "create", "--leave-running", "counter", "a1").stdout == "a1\n"
        assert run("docker", "checkpoint", "create", "counter", "b1").stdout == "b1\n"
        assert run("docker", "checkpoint", "ls", "counter").stdout.split() == [
            "CHECKPOINT",
            "NAME",
            "a1",
            "b1",
        ]
        counting.wait(container)
        run("docker", "start", "--checkpoint", "b1", "counter")
        assert counting.state(container)["Running"]
        run("docker", "checkpoint", "rm", "counter", "a1")
        assert run("docker", "checkpoint", "ls", "counter").stdout.split() == ["CHECKPOINT", "NAME", "b1"]
        counting.remove(container)

    def test_a_restore_that_fails_leaves_nothing(self, counting: Api, tmp_path: Path) -> None:
        container = counting.start(*COUNT)
        create(counting, container, "bad", CheckpointDir=str(tmp_path))
        counting.wait(container)
        (tmp_path / "bad" / "pstree.img").write_bytes(b"x")
        path = f"/containers/{container}/start?checkpoint=bad&checkpoint-dir={tmp_path}"
        assert "criu failed" in counting.call("POST", path, status=500)["message"]
        assert not list(counting.engine.exec_root.glob("restore-*"))
        counting.call("POST", f"/containers/{container}/start", status=204)
        counting.remove(container)


class TestRefused:
    pytestmark = needs_criu

    def test_what_cannot_be_written(self, counting: Api) -> None:
        container = counting.create("sleep", "100")
        assert create(counting, container, "a1", status=409)["message"].endswith("is not running")  # type: ignore[index]
        assert create(counting, container, "../a", status=400)["message"].startswith("Invalid checkpoint ID")  # type: ignore[index]
        counting.call("POST", f"/containers/{container}/start?checkpoint=nope", status=404)
        counting.call("DELETE", f"/containers/{container}/checkpoints/nope", status=404)
        counting.remove(container)
        terminal = counting.start("sleep", "100", Tty=True)
        create(counting, terminal, "a1", status=501)
        counting.remove(terminal)
