"""Volumes of a plugin that is a real process, through the docker CLI."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recording.session import Session

from engine import Engine

_PROGRAM = Path(__file__).with_name("volume_plugin.py")


class Plugin:
    def __init__(self, engine: Engine, directory: Path) -> None:
        self.directory = directory
        self.socket = engine.exec_root / "plugins/shelf.sock"
        self.socket.parent.mkdir(exist_ok=True)
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-I", str(_PROGRAM), self.socket, self.directory])
        deadline = time.monotonic() + 20
        while not self.socket.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.unlink(missing_ok=True)

    def calls(self) -> list[str]:
        """What it was asked, in order; each is told once."""
        path = self.directory / "calls"
        lines = path.read_text().splitlines()
        path.write_text("")
        return [line.split(" ")[0].rpartition(".")[2] for line in lines]


@pytest.fixture
def plugin(engine: Engine, session: Session, tmp_path: Path) -> Iterator[Plugin]:
    session.clean()
    running = Plugin(engine, tmp_path)
    yield running
    session.clean()
    running.stop()


def test_life_of_a_plugins_volume(engine: Engine, plugin: Plugin, tmp_path: Path) -> None:
    engine.run("docker", "volume", "create", "-d", "shelf", "-o", "a=b", "books")
    (tmp_path / "data/books/page").write_text("1\n")
    assert "Create" in plugin.calls()
    command = ["docker", "run", "--rm", "-v", "books:/b", "busybox", "cat", "/b/page"]
    assert engine.run(*command).stdout == "1\n"
    engine.run("docker", "volume", "inspect", "books")
    calls = plugin.calls()
    assert calls.index("Mount") < calls.index("Unmount")
    document = json.loads(engine.run("docker", "volume", "inspect", "books").stdout)[0]
    assert (document["Driver"], document["Scope"]) == ("shelf", "global")
    assert document["Mountpoint"] == str(tmp_path / "data/books")
    engine.run("docker", "volume", "rm", "books")
    assert not (tmp_path / "data/books").exists()


def test_two_containers_mount_once(engine: Engine, plugin: Plugin) -> None:
    for name in ("c1", "c2"):
        command = ["docker", "run", "-d", "--name", name, "--volume-driver", "shelf", "-v", "two:/b"]
        engine.run(*command, "busybox", "sleep", "60")
    assert plugin.calls().count("Mount") == 1
    engine.run("docker", "rm", "-f", "c1")
    assert "Unmount" not in plugin.calls()
    engine.run("docker", "rm", "-f", "c2")
    engine.run("docker", "volume", "rm", "two")
    calls = plugin.calls()
    assert calls.index("Unmount") < calls.index("Remove")


def test_what_only_the_plugin_knows_is_listed_and_found(
    engine: Engine, plugin: Plugin, tmp_path: Path
) -> None:
    (tmp_path / "data/old").mkdir()
    assert "shelf     old" in engine.run("docker", "volume", "ls").stdout
    (tmp_path / "data/old/x").write_text("there\n")
    command = ["docker", "run", "--rm", "-v", "old:/b", "busybox", "cat", "/b/x"]
    assert engine.run(*command).stdout == "there\n"
    words = engine.run("docker", "volume", "create", "-d", "local", "old", check=False).stderr
    assert "driver 'shelf' already has volume 'old': volume name must be unique" in words


def test_a_plugins_refusal_is_told_and_leaves_nothing(engine: Engine, plugin: Plugin) -> None:
    done = engine.run("docker", "volume", "create", "-d", "shelf", "-o", "fail=1", "bad", check=False)
    assert "create bad: VolumeDriver.Create: no such pool" in done.stderr
    assert engine.run("docker", "volume", "ls", "-q").stdout == ""


def test_a_plugin_may_be_away_for_a_while(engine: Engine, plugin: Plugin) -> None:
    engine.run("docker", "volume", "create", "-d", "shelf", "books")
    plugin.stop()
    command = ["docker", "run", "--rm", "-v", "books:/b", "busybox", "true"]
    assert "does not answer" in engine.run(*command, check=False).stderr
    assert "shelf     books" in engine.run("docker", "volume", "ls").stdout
    plugin.process = plugin.start()
    engine.run(*command)


@pytest.mark.parametrize("away", [False, True])
def test_a_removal_that_the_engine_did_not_live_to_see_is_ended(
    new_engine: Callable[..., Engine], tmp_path: Path, away: bool
) -> None:
    """away: the plugin is not there either when the next engine starts, but for the one after."""
    engine = new_engine()
    plugin = Plugin(engine, tmp_path)
    engine.run("docker", "volume", "create", "-d", "shelf", "books")
    plugin.process.send_signal(signal.SIGSTOP)
    removing = engine.popen("docker", "volume", "rm", "books")
    ledger = sqlite3.connect(f"file:{engine.root}/meta.db?mode=ro", uri=True)
    while ledger.execute("SELECT name, driver FROM volume_removals").fetchall() != [("books", "shelf")]:
        time.sleep(0.01)
    engine.kill()
    removing.communicate()
    plugin.stop()
    assert (tmp_path / "data/books").exists()
    if away:
        engine.start()
        engine.kill()
    plugin.process = plugin.start()
    engine.start()
    while ledger.execute("SELECT name FROM volume_removals").fetchall():
        time.sleep(0.01)
    assert not (tmp_path / "data/books").exists()
    assert engine.run("docker", "volume", "ls", "-q").stdout == ""
    ledger.close()
    plugin.stop()
