"""The docker CLI with buildx and compose, as Debian packages them (script/plugins), against an engine."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from recording.images import write_all

from engine import Engine

PLUGINS = Path(__file__).parents[2] / ".cache" / "plugins"
SUITES = ("trixie", "sid")
REGISTRY = "127.0.0.1:28504"


class Docker:
    """The CLI with the plugins of one Debian suite; a configuration of its own in `directory`."""

    def __init__(self, engine: Engine, suite: str, directory: Path) -> None:
        if not (PLUGINS / suite / ".complete").exists():
            pytest.skip(f"script/plugins has not got Debian {suite}'s plugins")
        self.engine = engine
        self.directory = directory
        self.config = directory / "docker"
        self.config.mkdir(parents=True)
        (self.config / "cli-plugins").symlink_to(PLUGINS / suite / "cli-plugins")

    def command(self, *arguments: str, env: Sequence[str] = ()) -> list[str]:
        """The command line that runs `docker arguments` in the directory."""
        variables = [f"DOCKER_CONFIG={self.config}", "BUILDKIT_PROGRESS=plain", *env]
        return ["env", "-C", str(self.directory), *variables, "docker", *arguments]

    def run(
        self, *arguments: str, check: bool = True, env: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker arguments` to its end."""
        return self.engine.run(*self.command(*arguments, env=env), check=check)

    def out(self, *arguments: str, env: Sequence[str] = ()) -> str:
        """What `docker arguments` prints on stdout."""
        return self.run(*arguments, env=env).stdout

    def write(self, files: dict[str, str]) -> None:
        """Files in the directory, the build's context."""
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def build(self, dockerfile: str, *arguments: str, check: bool = True, env: Sequence[str] = ()) -> str:
        """`docker build`; what it says."""
        self.write({"Dockerfile": dockerfile})
        done = self.run("build", *arguments, ".", check=check, env=env)
        assert check or done.returncode, done.stderr
        return done.stdout + done.stderr


def ends_without_leftovers(engine: Engine) -> None:
    """Nothing of any build is left in the engine's directories, once it has noticed that the client has gone."""
    left = [""]
    for _ in range(500):
        left = [name for name in os.listdir(engine.root / "tmp") if name.startswith("build-")]
        left += os.listdir(engine.exec_root / "build-steps")
        if not left:
            return
        time.sleep(0.02)
    assert left == []


@contextmanager
def building_engine() -> Iterator[Engine]:
    """An engine of one's own with the image `busybox`; in the end no build has left anything or broken down."""
    engine = Engine()
    try:
        engine.start()
        engine.run("docker", "load", "-q", "-i", str(write_all(engine.directory)["image"]))
        yield engine
        ends_without_leftovers(engine)
        words, broken, trace = engine.log.read_text().partition("Traceback")
        assert not broken, words[-600:] + trace
    finally:
        engine.close()


@contextmanager
def registry(engine: Engine, directory: Path) -> Iterator[None]:
    """Debian's, in the engine's network, over files that are there for another one too."""
    config = directory / f"{engine.root.name}-{id(engine)}.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {directory}/blobs}}}}\nhttp: {{addr: {REGISTRY}}}\n"
    )
    process = engine.popen("sh", "-c", f"exec docker-registry serve {config} >{config}.log 2>&1")
    deadline = time.monotonic() + 20
    try:
        while engine.run("curl", "-s", f"http://{REGISTRY}/v2/", check=False).returncode:
            assert time.monotonic() < deadline
        yield
    finally:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        subprocess.run(["kill", *children])
        process.communicate()
