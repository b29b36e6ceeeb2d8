"""Run scenarios against an engine's socket, one shell per line, and keep what came out."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from recording import images
from recording.normalise import Normaliser

REGISTRY_PORT = 28498
LINE_TIMEOUT_S = 60
_HERE = Path(__file__).parent
_CLEAN = """
docker ps -aq | xargs -r docker rm -fv
docker volume ls -q | xargs -r docker volume rm
docker network ls -q --filter type=custom | xargs -r docker network rm
docker images --format "{{.Repository}}:{{.Tag}} {{.ID}}" |
  sed -e "/^busybox:latest /d" -e "s/^<none>:<none> //" -e "s/ .*//" | xargs -r docker rmi -f
docker image prune -f
docker builder prune -af >/dev/null 2>&1
docker image inspect busybox >/dev/null 2>&1 || docker load -q -i $IMAGES/busybox.tar
"""


@dataclass(frozen=True)
class Outcome:
    """What one line printed, normalised, and the shell's exit status."""

    line: str
    status: int
    stdout: str
    stderr: str


class Session:
    """An engine with the fixed image loaded, a working directory and a registry beside it."""

    def __init__(
        self, docker_host: str, *, netns_pid: int | None = None, hidden: dict[str, str] | None = None
    ) -> None:
        """netns_pid: run commands in that process's network namespace. hidden: text -> the name it gets."""
        self._enter = ["nsenter", f"--net=/proc/{netns_pid}/ns/net"] if netns_pid else []
        self._top = Path(tempfile.mkdtemp(prefix="corten-clients-"))
        self._tars = images.write_all(self._top)
        self._hidden = hidden or {}
        bin_dir = self._top / "bin"
        bin_dir.mkdir()
        launcher = bin_dir / "onpty"
        launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -I {_HERE / "onpty.py"} "$@"\n')
        launcher.chmod(0o755)
        self._env = {
            "PATH": f"{bin_dir}:{os.environ['PATH']}",
            "HOME": str(self._top),
            "TERM": "dumb",
            "LC_ALL": "C",
            "DOCKER_HOST": docker_host,
            "DOCKER_CONFIG": str(self._top / "config"),
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CLI_HINTS": "false",
            "IMAGES": str(self._top),
            "REGISTRY": f"127.0.0.1:{REGISTRY_PORT}",
        }
        self._registry = subprocess.Popen(
            [
                *self._enter,
                sys.executable,
                "-I",
                _HERE / "registry.py",
                self._tars["image"],
                str(REGISTRY_PORT),
            ]
        )
        loaded = self._shell(
            "docker load -q -i $IMAGES/busybox.tar && docker inspect -f '{{.Id}}' busybox", self._top
        )
        if loaded.returncode:
            self.close()
            raise RuntimeError(f"cannot load the image: {loaded.stderr}")
        self._base_size = self._shell("docker images --format '{{.Size}}' busybox", self._top).stdout.strip()
        self._base_id = loaded.stdout.strip().rpartition(":")[2]

    def close(self) -> None:
        """End the registry and remove the files."""
        self._registry.kill()
        self._registry.wait()
        shutil.rmtree(self._top)

    def run(self, lines: list[str]) -> list[Outcome]:
        """One scenario, line by line, on an engine that has nothing but the busybox image."""
        self.clean()
        work = Path(tempfile.mkdtemp(dir=self._top))
        names = {
            str(work): "<work>",
            str(self._top): "<top>",
            self._base_id: "busybox",
            self._base_size: "<busybox size>",
            **self._hidden,
        }
        normalise = Normaliser(names)
        outcomes = []
        for line in lines:
            done = self._shell(line, work)
            outcomes.append(Outcome(line, done.returncode, normalise(done.stdout), normalise(done.stderr)))
        return outcomes

    def clean(self) -> None:
        """Remove containers, volumes, networks and images that a scenario left."""
        done = self._shell(_CLEAN, self._top)
        if done.returncode:
            raise RuntimeError(f"cannot clean up: {done.stderr}")

    def client_version(self) -> str:
        """The docker CLI's version: what it prints by itself belongs to it."""
        return self._shell("docker version -f '{{.Client.Version}}'", self._top).stdout.strip()

    def _shell(self, line: str, work: Path) -> subprocess.CompletedProcess[str]:
        started = time.monotonic()
        process = subprocess.Popen(
            [*self._enter, "bash", "-c", line],
            cwd=work,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=LINE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            stdout, stderr = process.communicate()
            stderr += f"\n[killed after {time.monotonic() - started:.0f} s]"
        return subprocess.CompletedProcess([line], process.returncode, stdout, stderr)


def as_documents(outcomes: list[Outcome]) -> list[dict[str, object]]:
    """Outcomes as they are stored."""
    return [asdict(outcome) for outcome in outcomes]
