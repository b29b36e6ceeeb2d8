"""An engine is started in the background when there is none, unless that is not wanted."""

import json
import os
import signal

import pytest

from corten.cli import autostart
from corten.cli.errors import ExitError

ENGINE = """
import os, socket, sys, time
time.sleep(0.1)
listener = socket.socket(socket.AF_UNIX)
listener.bind({path!r})
listener.listen()
with open({path!r} + ".pid", "w") as f:
    f.write(f"{{os.getpid()}} {{os.getsid(0)}}")
print("hello from the engine", flush=True)
time.sleep(30)
"""


def test_engine_is_started_in_a_session_of_its_own(tmp_path, monkeypatch, capfd):
    path = str(tmp_path / "corten.sock")
    log = tmp_path / "log"
    monkeypatch.setattr(autostart, "ENGINE_COMMAND", ("-c", ENGINE.format(path=path)))
    autostart.start(path, str(log))
    assert capfd.readouterr().err == (
        f"corten: no engine is running; starting one in the background (log: {log})\n"
    )
    while not os.path.exists(path + ".pid") or not (tmp_path / "corten.sock.pid").read_text():
        pass
    pid, session = map(int, (tmp_path / "corten.sock.pid").read_text().split())
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    assert session == pid


def test_engine_that_ends_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(autostart, "ENGINE_COMMAND", ("-c", "import sys; sys.exit('no disk')"))
    log = tmp_path / "log"
    with pytest.raises(ExitError, match=r"ended at once \(exit code 1\)"):
        autostart.start(str(tmp_path / "s"), str(log))
    assert log.read_text() == "no disk\n"


@pytest.mark.parametrize("value", [True, False])
def test_configuration_turns_it_off(tmp_path, monkeypatch, value):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(autostart, "SYSTEM_CONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert autostart.wanted(True, str(tmp_path))
    (tmp_path / ".config/corten").mkdir(parents=True)
    (tmp_path / ".config/corten/config.json").write_text(json.dumps({"autostart": value}))
    assert autostart.wanted(True, str(tmp_path)) is value
    assert not autostart.wanted(False, str(tmp_path))


def test_only_root_starts_engines(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not autostart.wanted(True, str(tmp_path))
