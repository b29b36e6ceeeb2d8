"""Builds beside BuildKit in dockerd: `script/bench-build --help`.

Both are asked by the same docker CLI with the same buildx, through `spy.c`, which tells whose turn took how
long: "engine" is the time in which the client waited for the engine.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import report

from engine import Engine

TOP = Path(__file__).parent.parent
CACHE = TOP / ".cache" / "bench-build"
PLUGINS = TOP / ".cache" / "plugins" / "trixie" / "cli-plugins"
FILES = 20_000
STEPS = 10
_PACKAGES = "procps iproute2 nftables iptables ca-certificates"
_LEFT_OUT = ("docker", "containerd", "podman", "golang", "git", "runc", "crun")  # of the peers' own packages


@dataclass(frozen=True)
class Taken:
    """Seconds of a build: by the clock, and those of it that were the engine's."""

    wall: float
    engine: float


class Spy:
    """A proxy in front of an engine's socket."""

    def __init__(self, host: str, directory: Path) -> None:
        binary = directory / "spy"
        source = TOP / "bench" / "spy.c"
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", binary, source], check=True)
        listening = directory / "spy.sock"
        self.host = f"unix://{listening}"
        command = [binary, listening, host.removeprefix("unix://")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._said()

    def engine_s(self) -> float:
        """Seconds of the engine since this was called last."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._said().split()[0]) / 1e9

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it."""
        self._process.communicate()


class Contender:
    """An engine behind a socket. `directory`: contexts, of its own, so that nobody disturbs the other's."""

    def __init__(self, name: str, host: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        config = directory / "config"
        config.mkdir(parents=True)
        (config / "cli-plugins").symlink_to(PLUGINS)
        self._spy = Spy(host, directory)
        self.environment = {**os.environ, "DOCKER_HOST": self._spy.host, "DOCKER_CONFIG": str(config)}

    def run(self, *arguments: str, stdin: Path = Path("/dev/null")) -> Taken:
        """A command of the docker CLI."""
        self._spy.engine_s()
        start = time.perf_counter()
        with stdin.open("rb") as source, tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                ["docker", *arguments], env=self.environment, stdin=source, stdout=said, stderr=said
            )
            failed = process.wait()
            wall = time.perf_counter() - start
            if failed:
                said.seek(0)
                raise RuntimeError(f"{self.name}: docker {arguments}: {said.read().decode()[-3000:]}")
        return Taken(wall, self._spy.engine_s())

    def build(self, context: str, *arguments: str) -> Taken:
        """Build one of the contexts."""
        return self.run("build", "-q", "-t", f"bench-{context}", *arguments, str(self.directory / context))

    def close(self) -> None:
        """End what was started to measure it."""
        self._spy.close()

    def write(self, context: str, dockerfile: str) -> Path:
        """A context with nothing in it but the Dockerfile."""
        path = self.directory / context
        path.mkdir(exist_ok=True)
        (path / "Dockerfile").write_text(dockerfile)
        return path


@dataclass(frozen=True)
class Case:
    """`prepare` once; `sample` in every round, the seconds. `target`: how many times faster than BuildKit.

    `turns`: how often in a round, one contender after the other: many where one sample is mostly noise.
    """

    name: str
    target: float
    prepare: Callable[[Contender], None]
    sample: Callable[[Contender], float]
    turns: int = 1


# -- ten cached steps, ten steps that run ------------------------------------------------------------


def _commands(count: int) -> str:
    return "FROM bench-base\n" + "".join(f"RUN echo {number} && true\n" for number in range(count))


def _prepare_cached(who: Contender) -> None:
    who.write("cached", _commands(STEPS))
    who.build("cached")


def _prepare_run(who: Contender) -> None:
    who.write("one", "FROM bench-base\nRUN true\n")
    who.write("many", "FROM bench-base\n" + "RUN true\n" * (STEPS + 1))


def _sample_run(who: Contender) -> float:
    one, many = who.build("one", "--no-cache"), who.build("many", "--no-cache")
    return (many.wall - one.wall) / STEPS


# -- many files, of which one changes ----------------------------------------------------------------


def _prepare_files(who: Contender) -> None:
    context = who.write("files", "FROM scratch\nCOPY . /app\n")
    numbers = random.Random(1)
    for number in range(FILES):
        directory = context / f"d{number // 400}" / f"s{number // 40 % 10}"
        if number % 40 == 0:
            directory.mkdir(parents=True)
        (directory / f"{number}.txt").write_bytes(numbers.randbytes(numbers.randint(200, 3000)))
    who.build("files")
    _change(who)
    who.build("files")


def _change(who: Contender) -> None:
    (who.directory / "files/d7/s3/2920.txt").write_text(str(time.time_ns()))


def _sample_files(who: Contender) -> Taken:
    _change(who)
    return who.build("files")


# -- a Debian image with packages --------------------------------------------------------------------


def _prepare_apt(who: Contender) -> None:
    who.run("import", "-", "bench-debian", stdin=_debian())
    command = f"apt-get update && apt-get install -y --no-install-recommends {_PACKAGES}"
    who.write("apt", f"FROM bench-debian\nENV DEBIAN_FRONTEND=noninteractive\nRUN {command}\n")


def _debian() -> Path:
    """A tar of Debian trixie's minimal system with a package repository in it."""
    tar = CACHE / "debian.tar"
    if not tar.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        root = Path(tempfile.mkdtemp(prefix="debian-", dir=CACHE))
        mirror = os.environ.get("CORTEN_DEBIAN_MIRROR", "http://deb.debian.org/debian")
        debs = PEERS.parent.parent / ".cache" / "peers" / "debs"
        bootstrap = ["debootstrap", "--variant=minbase", f"--cache-dir={debs}", "trixie", str(root), mirror]
        subprocess.run(["unshare", "--mount", *bootstrap], check=True, stdout=subprocess.DEVNULL)
        repository = root / "repository"
        repository.mkdir()
        for path in debs.glob("*.deb"):
            if not path.name.startswith(_LEFT_OUT):
                shutil.copy(path, repository / path.name.replace("%3a", "_"))
        index = subprocess.run(
            ["dpkg-scanpackages", "-m", "."], cwd=repository, check=True, capture_output=True
        ).stdout
        (repository / "Packages").write_bytes(index)
        (root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/repository ./\n")
        subprocess.run(["tar", "-C", root, "-cf", f"{tar}.part", "."], check=True)
        os.rename(f"{tar}.part", tar)
        shutil.rmtree(root)
    return tar


CASES = [
    Case("10 cached steps, engine", 10, _prepare_cached, lambda who: who.build("cached").engine, turns=10),
    Case("a step that runs `true`", 20, _prepare_run, _sample_run),
    Case("20,000 files, one changed", 5, _prepare_files, lambda who: _sample_files(who).wall),
    Case("the same, engine", 5, lambda who: None, lambda who: _sample_files(who).engine),
    Case("Debian with packages", 1, _prepare_apt, lambda who: who.build("apt", "--no-cache").wall),
]


def main() -> None:
    """Measure, print a table."""
    global PEERS
    parser = argparse.ArgumentParser(prog="script/bench-build", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--peers", default=str(TOP / "script/peers"), help="the script that brings them up")
    parser.add_argument("--no-peers", action="store_true", help="Corten alone")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    PEERS = Path(arguments.peers).resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without cleaning up
    directory = Path(tempfile.mkdtemp(prefix="bench-build-", dir=TOP / ".cache"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    engine = Engine()
    samples: dict[str, dict[str, list[float]]] = {}
    contenders: list[Contender] = []
    try:
        engine.start()
        contenders.append(Contender("corten", engine.docker_host, directory / "corten"))
        if not arguments.no_peers:
            printed = subprocess.run([PEERS, "up"], check=True, capture_output=True, text=True).stdout
            found = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
            contenders.append(Contender("dockerd", found["DOCKER_HOST"], directory / "dockerd"))
        chosen = [case for case in CASES if arguments.only in case.name]
        for who in contenders:
            _load_base(who, directory)
            for case in CASES:
                if any(each.prepare is case.prepare for each in chosen):
                    case.prepare(who)
        for case in chosen:  # warm
            for who in contenders:
                case.sample(who)
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
            for case in chosen:
                for who in contenders * case.turns:
                    samples.setdefault(case.name, {}).setdefault(who.name, []).append(case.sample(who))
    finally:
        for who in contenders[1:]:
            _clean(who)
        for who in contenders:
            who.close()
        engine.close()
        shutil.rmtree(directory, ignore_errors=True)
    text = table(samples)
    print(text)
    out = TOP / "bench" / "out"
    out.mkdir(parents=True, exist_ok=True)
    (out / time.strftime("build-%Y%m%d-%H%M%S.json")).write_text(json.dumps(samples, indent=1))
    if arguments.readme:
        report.update_readme(TOP / "README.md", text, "bench-build")


def _load_base(who: Contender, directory: Path) -> None:
    """busybox under a name of ours."""
    from recording.images import write_all

    who.run("load", "-q", "-i", str(write_all(directory)["image"]))
    who.run("tag", "busybox", "bench-base")


def _clean(who: Contender) -> None:
    listed = subprocess.run(
        ["docker", "images", "-q", "bench-*"], env=who.environment, capture_output=True, text=True
    )
    for image in set(listed.stdout.split()):
        subprocess.run(["docker", "rmi", "-f", image], env=who.environment, capture_output=True)
    subprocess.run(["docker", "builder", "prune", "-af"], env=who.environment, capture_output=True)


def table(samples: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: milliseconds, and how many times faster."""
    rows = ["| build | corten (ms) | BuildKit in dockerd (ms) | | wanted |", "|---|---:|---:|---:|---:|"]
    for case in CASES:
        by = {who: statistics.median(taken) * 1000 for who, taken in samples.get(case.name, {}).items()}
        if not by:
            continue
        ours, theirs = by["corten"], by.get("dockerd")
        ratio = f"**{theirs / ours:.1f}x**" if theirs else ""
        shown = f"{theirs:.1f}" if theirs else ""
        rows.append(f"| {case.name} | {ours:.1f} | {shown} | {ratio} | {case.target}x |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
