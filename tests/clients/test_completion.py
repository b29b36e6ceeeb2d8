"""Completion by real shells, with names of a real engine."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

_BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def named(engine, session):
    """A running container `runner`, a created one `sleeper`, a network and a volume."""
    session.clean()
    engine.run("docker", "run", "-d", "--name", "runner", "busybox", "sleep", "1000")
    engine.run("docker", "create", "--name", "sleeper", "busybox", "true")
    engine.run("docker", "network", "create", "webnet")
    engine.run("docker", "volume", "create", "papers")
    yield engine
    engine.run("docker", "rm", "-f", "runner", "sleeper")
    session.clean()


def _candidates(engine, *words):
    *lines, directive = engine.run(str(_BIN / "corten"), "__complete", *words).stdout.splitlines()
    return [line.partition("\t")[0] for line in lines], directive


@pytest.mark.parametrize(
    ("words", "wanted", "not_wanted"),
    [
        ([""], {"run", "container", "ps", "completion"}, {"container run"}),
        (["container", "st"], {"start", "stats", "stop"}, {"run"}),
        (["run", "--ne"], {"--network", "--network-alias"}, {"--name"}),
        (["--con"], {"--config", "--context"}, set()),
        (["stop", ""], {"runner"}, {"sleeper"}),
        (["start", ""], {"sleeper"}, {"runner"}),
        (["rm", "-f", ""], {"sleeper", "runner"}, {"papers"}),
        (["rm", "runner", ""], {"sleeper"}, {"runner"}),
        (["run", "--rm", "-it", "bu"], {"busybox", "busybox:latest"}, set()),
        (["run", "--network", ""], {"webnet", "bridge", "host"}, {"runner"}),
        (["network", "connect", "web"], {"webnet"}, set()),
        (["network", "connect", "webnet", ""], {"runner", "sleeper"}, {"webnet"}),
        (["volume", "rm", ""], {"papers"}, set()),
        (["inspect", "p"], {"papers"}, {"runner"}),
        (["run", "--restart", ""], {"always", "unless-stopped"}, set()),
        (["completion", ""], {"bash", "zsh", "fish"}, set()),
        (["exec", "-it", "run"], {"runner"}, set()),
    ],
)
def test_what_may_follow(named, words, wanted, not_wanted):
    found, directive = _candidates(named, *words)
    assert wanted <= set(found)
    assert not not_wanted & set(found)
    assert directive == ":4"


@pytest.mark.parametrize(
    "words", [["run", "busybox", ""], ["run", "-v", ""], ["load", "-i", "x"], ["build", ""]]
)
def test_files_may_follow(named, words):
    assert _candidates(named, *words) == ([], ":0")


def test_without_an_engine_nothing_is_started_and_nothing_said(named):
    done = named.run(str(_BIN / "corten"), "__complete", "-H", "unix:///nowhere", "rm", "")
    assert (done.stdout, done.stderr) == (":4\n", "")


def _environment(engine):
    path = f"{_BIN}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": "/nonexistent", "CORTEN_HOST": engine.docker_host, "TERM": "dumb"}


def test_bash(named):
    def replies(line):
        words = line.split(" ")
        script = (
            "source <(corten completion bash)\n"
            f"COMP_LINE={json.dumps(line)} COMP_POINT={len(line)} COMP_CWORD={len(words) - 1}\n"
            'compopt() { :; }\n_corten\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", script], env=_environment(named), capture_output=True, text=True
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert replies("corten stop ") == ["runner"]
    assert replies("corten container rena") == ["rename"]
    assert replies("corten run busybox:l") == ["latest"]
    assert "--network-alias" in replies("corten run --netw")


def test_fish(named):
    fish = shutil.which("fish")
    script = (
        "corten completion fish | source; complete -C 'corten stop '; complete -C 'corten container rena'"
    )
    done = subprocess.run(
        [fish, "--no-config", "-c", script],
        env={**_environment(named), "HOME": "/tmp"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "runner\tbusybox\nrename\tRename a container\n", done.stderr


def test_zsh(named):
    zsh = shutil.which("zsh")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(zsh, [zsh, "-f"], {**_environment(named), "TERM": "xterm", "PS1": "> "})
    shown = b""

    def until(text):
        nonlocal shown
        deadline = time.monotonic() + 30
        while text not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536)

    try:
        until(b"> ")
        os.write(
            terminal, b"autoload -U compinit; compinit -D; source <(corten completion zsh); echo rea''dy\n"
        )
        until(b"ready")
        os.write(terminal, b"echo corten stop | read; corten stop \t")
        until(b"runner")
    finally:
        os.close(terminal)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
