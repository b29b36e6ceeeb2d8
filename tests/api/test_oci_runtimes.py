"""`docker run --runtime`: other OCI runtimes under our engine."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine

HIDE = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"'  # crun refuses a machine that shows both


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    (tmp_path / "root/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tmp_path / "root/bin/busybox")
    subprocess.run(["chroot", str(tmp_path / "root"), "/bin/busybox", "--install", "-s", "/bin"], check=True)
    subprocess.run(["tar", "-C", str(tmp_path / "root"), "-cf", str(tmp_path / "b.tar"), "."], check=True)
    return tmp_path / "b.tar"


def test_runc_and_crun(new_engine: Callable[..., Engine], busybox: Path) -> None:
    crun = {"path": "unshare", "runtimeArgs": ["-m", "sh", "-c", HIDE, str(shutil.which("crun"))]}
    engine = new_engine({"runtimes": {"hidden-crun": crun}})
    engine.run("docker", "import", str(busybox), "busybox")
    for name in ("runc", "hidden-crun"):
        script = "grep -c Seccomp:.2 /proc/self/status; hostname; exit 3"
        done = engine.run(
            "docker",
            "run",
            "--rm",
            "--runtime",
            name,
            "-h",
            "box",
            "busybox",
            "sh",
            "-c",
            script,
            check=False,
        )
        assert (done.stdout, done.returncode) == ("1\nbox\n", 3), done.stderr
        engine.run("docker", "run", "-d", "--name", "xx", "--runtime", name, "busybox", "sleep", "100")
        assert engine.run("docker", "exec", "xx", "echo", "in").stdout == "in\n"
        assert engine.run("docker", "exec", "-t", "xx", "echo", "in").stdout == "in\n"
        assert not list(engine.exec_root.glob("tty-*"))
        assert engine.run("docker", "inspect", "-f", "{{.HostConfig.Runtime}}", "xx").stdout == f"{name}\n"
        engine.run("docker", "rm", "-f", "xx")
        missing = engine.run("docker", "run", "--rm", "--runtime", name, "busybox", "nope", check=False)
        assert missing.returncode == 127
    assert "hidden-crun" in engine.run("docker", "info", "-f", "{{json .Runtimes}}").stdout


def test_unknown_runtime(new_engine: Callable[..., Engine], busybox: Path) -> None:
    engine = new_engine()
    engine.run("docker", "import", str(busybox), "busybox")
    done = engine.run("docker", "run", "--rm", "--runtime", "nope", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "unknown or invalid runtime name: nope" in done.stderr
    assert engine.run("docker", "ps", "-aq").stdout == ""


NO_DIRECTORIES = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
}


def test_the_engines_own_seccomp_profile(
    new_engine: Callable[..., Engine], busybox: Path, tmp_path: Path
) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(NO_DIRECTORIES))
    engine = new_engine({"seccomp-profile": str(profile)})
    shown = engine.run("docker", "info", "-f", "{{.SecurityOptions}}{{.Warnings}}").stdout
    assert f"name=seccomp,profile={profile}" in shown
    assert "WARNING: daemon is not using the default seccomp profile" in shown
    engine.run("docker", "import", str(busybox), "busybox")
    make = ("busybox", "mkdir", "/x")
    refused = engine.run("docker", "run", "--rm", *make, check=False)
    assert (refused.returncode, refused.stderr) == (
        1,
        "mkdir: can't create directory '/x': Operation not permitted\n",
    )
    engine.run("docker", "run", "--rm", "--security-opt", "seccomp=builtin", *make)
    engine.run("docker", "run", "--rm", "--privileged", *make)


def test_an_engine_whose_seccomp_profile_confines_nothing(
    new_engine: Callable[..., Engine], busybox: Path
) -> None:
    engine = new_engine({"seccomp-profile": "unconfined"})
    assert "profile=unconfined" in engine.run("docker", "info", "-f", "{{.SecurityOptions}}").stdout
    engine.run("docker", "import", str(busybox), "busybox")
    status = engine.run("docker", "run", "--rm", "busybox", "cat", "/proc/self/status").stdout
    assert "Seccomp:\t0" in status


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "No such file or directory"),
        ("[", "Decoding"),
        ('{"defaultAction": "SCMP_ACT_NOTIFY"}', "SCMP_ACT_NOTIFY is not supported"),
    ],
)
def test_an_engine_does_not_start_without_its_seccomp_profile(
    new_engine: Callable[..., Engine], tmp_path: Path, text: str | None, complaint: str
) -> None:
    profile = tmp_path / "profile.json"
    if text:
        profile.write_text(text)
    with pytest.raises(RuntimeError, match=rf"seccomp profile \({profile}\).*{complaint}"):
        new_engine({"seccomp-profile": str(profile)})


def test_without_selinux_an_engine_goes_on_as_dockers_does(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine({"selinux-enabled": True})
    assert "could not enable SELinux on the host system" in engine.log.read_text()
    assert "selinux" not in engine.run("docker", "info", "-f", "{{.SecurityOptions}}").stdout
