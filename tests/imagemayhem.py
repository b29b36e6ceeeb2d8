"""kill -9 at random while images come and go: `script/chaos-images`; tests/chaos/test_imagemayhem.py has a short form.

Clients pull, push, build, commit, save, load, tag, prune and remove images that share layers, and the engine is
killed now and then. Clients may lose an answer; what they are told must be one of the sentences that such a crowd
explains. In the end fsck finds nothing, every image that is listed can be read and run, and with the last
image everything is gone.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import census
from engine import Engine
from sandbox import child_of

REGISTRY = "127.0.0.1:28600"
_REPOSITORIES = [f"{REGISTRY}/r{n}" for n in range(4)]
_LOCAL = [f"local:{n}" for n in range(4)]
_SETTLE_S = 60.0
_SERVE = [str(Path(sys.executable).with_name("corten-registry")), "--listen", REGISTRY]

# What others, or a dying engine, may have done to a client.
_EXPECTED = (
    "no such image", "no such container", "does not exist", "not found", "manifest unknown", "conflict",
    "error during connect", "eof", "connection reset", "broken pipe",
    "connection refused", "a prune operation is already running", "shutting down", "no such file or directory",
)  # fmt: skip


class ImageMayhem:
    """One engine with a registry beside it, its killer, and what went wrong."""

    def __init__(self, engine: Engine, work: Path, seed: int, pause_s: float) -> None:
        self._engine, self._work, self._pause_s = engine, work, pause_s
        self._random = random.Random(seed)  # noqa: S311
        self._over = threading.Event()
        self.done: Counter[str] = Counter()
        self.killed = 0
        self.wrong: list[str] = []

    def run(self, count: int, in_flight: int) -> None:
        """Do `count` things to images."""
        operations = (
            self._pull, self._pull, self._push, self._build, self._build, self._commit, self._save_and_load,
            self._tag, self._remove, self._remove, self._prune,
        )  # fmt: skip
        chosen = [(self._random.choice(operations), self._random.randrange(1 << 30)) for _ in range(count)]
        killer = threading.Thread(target=self._kill_now_and_then)
        killer.start()
        try:
            with ThreadPoolExecutor(in_flight) as pool:
                list(pool.map(self._one, chosen))
        finally:
            self._over.set()
            killer.join()

    def _kill_now_and_then(self) -> None:
        while not self._over.wait(self._random.uniform(0.2, 1.8) * self._pause_s):
            self._engine.kill()
            self._engine.start()
            self.killed += 1

    def _one(self, operation: "tuple[Callable[[random.Random], str], int]") -> None:
        what, seed = operation
        said = what(random.Random(seed))  # noqa: S311
        known = not said or any(word in said.lower() for word in _EXPECTED)
        self.done[f"{what.__name__[1:]} {'failed' if said else 'done'}"] += 1
        if not known:
            self.wrong.append(f"{what.__name__[1:]}: {said}")

    def _docker(self, *arguments: str) -> str:
        """What went wrong; "" if nothing. Asked again while nobody is there."""
        while True:
            done = self._engine.run("env", "DOCKER_BUILDKIT=0", "docker", *arguments, check=False)
            if not done.returncode:
                return ""
            problem = (done.stderr or done.stdout).strip()[-600:] or "?"
            if "Cannot connect to the Docker daemon" not in problem:
                return problem
            time.sleep(0.05)

    # -- what is done ---------------------------------------------------------------------------

    def _pull(self, chooser: random.Random) -> str:
        return self._docker("pull", "-q", f"{chooser.choice(_REPOSITORIES)}:{chooser.randrange(2)}")

    def _push(self, chooser: random.Random) -> str:
        source, target = self._some(chooser), f"{chooser.choice(_REPOSITORIES)}:{chooser.randrange(3)}"
        return self._docker("tag", source, target) or self._docker("push", "-q", target)

    def _build(self, chooser: random.Random) -> str:
        with tempfile.TemporaryDirectory(dir=self._work) as context:
            Path(context, "file").write_text("x" * chooser.randrange(200_000))
            Path(context, "Dockerfile").write_text(
                f"FROM busybox\nRUN echo {chooser.randrange(3)} >/made\nCOPY file /\nRUN cat /file >/copy\n"
            )
            return self._docker("build", "-q", "-t", chooser.choice(_LOCAL), context)

    def _commit(self, chooser: random.Random) -> str:
        name = f"c{chooser.randrange(1 << 40)}"
        command = ("sh", "-c", "echo $$ >/changed")
        problem = self._docker("run", "--pull", "never", "--name", name, self._some(chooser), *command)
        problem = problem or self._docker("commit", name, chooser.choice(_LOCAL))
        return problem or self._docker("rm", "-f", name)

    def _save_and_load(self, chooser: random.Random) -> str:
        archive = self._work / f"{chooser.randrange(1 << 40)}.tar"
        try:
            saved = self._docker("save", "-o", str(archive), self._some(chooser), self._some(chooser))
            return saved or self._docker("load", "-q", "-i", str(archive))
        finally:
            archive.unlink(missing_ok=True)

    def _tag(self, chooser: random.Random) -> str:
        return self._docker("tag", self._some(chooser), chooser.choice(_LOCAL))

    def _remove(self, chooser: random.Random) -> str:
        return self._docker(
            "rmi", *(["-f"] if chooser.randrange(2) else []), self._some(chooser, but="busybox:latest")
        )

    def _prune(self, chooser: random.Random) -> str:
        return self._docker(*chooser.choice([("image", "prune", "-f"), ("builder", "prune", "-f")]))

    def _some(self, chooser: random.Random, *, but: str = "") -> str:
        """A name that was there a moment ago."""
        command = ("docker", "images", "--format", "{{.Repository}}:{{.Tag}}")
        while (listed := self._engine.run(*command, check=False)).returncode:
            time.sleep(0.05)  # nobody is there
        names = [name for name in listed.stdout.split() if name != but and "<none>" not in name]
        return chooser.choice(sorted(names) or ["none:left"])


def image_mayhem(
    engine: Engine, busybox: Path, *, count: int, in_flight: int, seed: int, pause_s: float
) -> dict[str, object]:
    """Run it. Returns what was done, what was "wrong", what fsck "found" and what is "left"."""
    with tempfile.TemporaryDirectory(dir=engine.directory) as work:
        registry = engine.popen(*_SERVE, "--root", f"{work}/registry")
        try:
            _fill(engine, busybox)
            _empty(engine)
            before = census.quiet(engine, _SETTLE_S)
            before["rows build_steps"] += (
                count * 4
            )  # kept to say "Using cache"; bounded, and nobody's to remove
            engine.run("docker", "import", str(busybox), "busybox")
            it = ImageMayhem(engine, Path(work), seed, pause_s)
            it.run(count, in_flight)
            found = _findings(engine)
            it.wrong += _unusable(engine)
            _empty(engine)
        finally:
            os.kill(child_of(registry.pid), signal.SIGTERM)
            registry.communicate()
    return {
        "done": dict(sorted(it.done.items())),
        "killed": it.killed,
        "wrong": it.wrong,
        "found": [*found, *_findings(engine)],
        "left": census.settled(engine, before, _SETTLE_S),
    }


def _fill(engine: Engine, busybox: Path) -> None:
    """Images in the registry that share their first layer, so that pulls meet what others just remove."""
    engine.run("docker", "import", str(busybox), "busybox")
    while engine.run("curl", "-s", f"http://{REGISTRY}/v2/", check=False).returncode:
        time.sleep(0.05)
    for repository in _REPOSITORIES:
        for tag in range(2):
            engine.run(
                "docker", "run", "--name", "made", "busybox", "sh", "-c", f"echo {repository}{tag} >/made"
            )
            engine.run("docker", "commit", "made", f"{repository}:{tag}")
            engine.run("docker", "rm", "made")
            engine.run("docker", "push", "-q", f"{repository}:{tag}")


def _empty(engine: Engine) -> None:
    engine.run("sh", "-c", "docker ps -aq | xargs -r docker rm -f")
    # Parents go with, or after, their last child.
    engine.run(
        "sh",
        "-c",
        "for i in 1 2 3; do docker images -aq | sort -u | xargs -r docker rmi -f; done",
        check=False,
    )
    engine.run("docker", "builder", "prune", "-af")


def _findings(engine: Engine) -> list[str]:
    status, answer = engine.request("POST", "/v1.45/system/fsck?contents=1")
    findings = json.loads(answer)["Findings"] if status == 200 else [answer.decode()]
    return [str(finding) for finding in findings or []]


def _unusable(engine: Engine) -> list[str]:
    wrong = []
    for image in sorted(set(engine.run("docker", "images", "-q", "--no-trunc").stdout.split())):
        for command in (f"save {image} | wc -c", f"run --rm {image} true"):
            done = engine.run("bash", "-o", "pipefail", "-c", f"docker {command}", check=False)
            if done.returncode:
                wrong.append(f"{command}: {done.stderr[-300:]}")
    return wrong


def main() -> int:
    """The command line; 1 if anything was wrong, found or left."""
    parser = argparse.ArgumentParser(prog="script/chaos-images", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="things done to images")
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between kills, on average")
    parser.add_argument("--image", type=Path, required=True, help="a root file system with busybox, as a tar")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    engine = Engine()
    try:
        engine.start()
        result = image_mayhem(
            engine,
            options.image,
            count=options.count,
            in_flight=options.in_flight,
            seed=options.seed,
            pause_s=options.pause,
        )
    finally:
        engine.close()
    return census.verdict(result)


if __name__ == "__main__":
    sys.exit(main())
