"""Images between registry, archive and disk: pull, save, push, load, rmi; `script/bench-images --help`.

Every round has two images of its own (other digests, same files), one to pull and one to load, so that nobody
finds layers of the round before. All pull from one registry of ours and push to another, both in the engine's
network namespace. Nothing is deleted before everybody has had his turn, and then the next round waits: ext4
makes files slowly for a while after many deletions, whoever's they were. Median of rounds.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import report
from sample_image import SampleImage

from engine import Engine

TOP = Path(__file__).parent.parent
REGISTRY = str(Path(sys.executable).with_name("corten-registry"))
PORT = 5000
# What is measured, and the step of dockerd's it is compared with: dockerd keeps no blobs, so its layers are
# always raw.
STEPS = {
    "pull": "pull",
    "load": "load",
    "save": "save",
    "save, thrown away": "save, thrown away",
    "save, raw layers": "save",
    "push": "push",
    "push, raw layers": "push",
    "rmi": "rmi",
}
RAW = ", raw layers"
_OF_PULLED = {"pull", "save", "save, thrown away", "push", "rmi"}
Samples = dict[tuple[str, str], list[float]]
LOADED = "-loaded"  # the tag of what is loaded goes on like this
SETTLE_S = 45  # ext4 does not take inodes that were freed less than 35 s ago, and passes over them one by one


class Contender:
    """One engine. `run` executes its client; enter: begins commands that run in its network namespace.

    directory: of its two registries, to pull from and to push to; None: somebody else has them there already.
    share: where its client can read and write files.
    """

    keeps_blobs = False
    has_engine = True

    def __init__(
        self, name: str, run: Callable[..., None], enter: list[str], share: Path, directory: Path | None
    ) -> None:
        self.name = name
        self.run = run
        self.enter = enter
        self.share = share
        self.tag = ""  # of the round
        self._present: list[str] = []
        self._registries: list[subprocess.Popen[str]] = []
        for port in (PORT, PORT + 1) if directory is not None else ():
            root = str(directory / f"registry-{name}-{port}")
            command = [*enter, REGISTRY, "--listen", f"127.0.0.1:{port}", "--root", root]
            self._registries.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            if "serving" not in (first := self._registries[-1].stderr.readline()):
                raise RuntimeError(f"no registry for {name}: {first}")

    def publish(self, layout: Path, tag: str) -> None:
        """Put the round's image into the registry (not timed)."""
        if self._registries:
            there = f"docker://{_name(tag)}"
            _skopeo(self.enter, "--dest-tls-verify=false", f"oci:{layout}:x", there)

    def measure(self, tag: str, archive: Path, steps: set[str]) -> dict[str, float]:
        """Seconds for each step but rmi. archive: of another image, with raw layers."""
        self.tag = tag
        taken: dict[str, float] = {}
        saved, given = self.share / "saved.tar", self.share / "given.tar"

        def timed(step: str, *arguments: str) -> None:
            if step in steps:
                taken[step] = _timed(self.run, *arguments)

        def sent(kind: str, name: str) -> None:
            timed(f"save{kind}", "save", "-o", str(saved), name)
            saved.unlink(missing_ok=True)
            if f"push{kind}" in steps:
                there = f"127.0.0.1:{PORT + 1}/{self.name.replace('+', '-')}{len(kind)}:{tag}"
                self.run("tag", name, there)
                timed(f"push{kind}", "push", there)
                self.run("rmi", there)

        if steps & _OF_PULLED:
            self._present.append(_name(tag))
            timed("pull", "pull", _name(tag))
            sent("", _name(tag))
            if self.has_engine:
                timed("save, thrown away", "save", _name(tag))
        if steps - _OF_PULLED:
            os.link(archive, given)
            self._present.append(_name(tag + LOADED))
            timed("load", "load", "-i", str(given))
            given.unlink()
            if self.keeps_blobs:
                sent(RAW, _name(tag + LOADED))
        return taken

    def remove(self, steps: set[str]) -> dict[str, float]:
        """Remove the round's images; seconds for the first."""
        taken = [_timed(self.run, "rmi", self._present.pop(0)) for _ in self._present[:]]
        return {"rmi": taken[0]} if "rmi" in steps else {}

    def close(self) -> None:
        """End its registries; leave no image behind."""
        for name in self._present:
            with suppress(Exception):
                self.run("rmi", name)
        for registry in self._registries:
            registry.terminate()
            registry.wait()
            registry.stderr.close()


class Corten(Contender):
    """An engine of ours; its client is the docker CLI, as dockerd's is."""

    keeps_blobs = True

    def __init__(self, name: str, layers: str, directory: Path) -> None:
        self.engine = Engine({"storage-opts": [f"corten.layers={layers}"]})
        self.engine.start()
        enter = ["nsenter", f"--target={self.engine.sandbox.pid}", "--net", "--"]
        run = _client(["docker"], {"DOCKER_HOST": self.engine.docker_host})
        super().__init__(name, run, enter, directory, directory)

    @property
    def peak_memory(self) -> int:
        """The most that the engine's process has had in memory, in MB."""
        text = Path(f"/proc/{self.engine.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) // 1000

    def close(self) -> None:
        """End the engine as well."""
        self._present.clear()  # all goes
        super().close()
        self.engine.close()


class SkopeoAndUmoci(Contender):
    """No engine: skopeo copies into an OCI layout, umoci unpacks that."""

    has_engine = False

    def __init__(self, umoci: str, enter: list[str], directory: Path) -> None:
        self._umoci = umoci
        self._directory = directory / "umoci"
        self._directory.mkdir()
        self._names: dict[str, Path] = {}
        super().__init__("skopeo+umoci", self._run, enter, directory, None)

    def _run(self, command: str, *arguments: str) -> None:
        name = arguments[-1]
        if command == "tag":
            self._names[name] = self._names[arguments[0]]
        elif command == "pull":
            self._unpack(name, "--src-tls-verify=false", f"docker://{name}")
        elif command == "load":
            self._unpack(_name(self.tag + LOADED), f"docker-archive:{name}")
        elif command == "save":
            _skopeo([], f"oci:{self._names[name]}:x", f"docker-archive:{arguments[1]}:{name}")
        elif command == "push":
            target = f"docker://{name}"
            _skopeo(self.enter, "--dest-tls-verify=false", f"oci:{self._names[name]}:x", target)
        elif (layout := self._names.pop(name)) not in self._names.values():
            shutil.rmtree(layout.parent)

    def _unpack(self, name: str, *source: str) -> None:
        place = self._directory / name.rpartition(":")[2]
        place.mkdir()
        self._names[name] = layout = place / "layout"
        _skopeo(self.enter, *source, f"oci:{layout}:x")
        command = [self._umoci, "unpack", "--image", f"{layout}:x", str(place / "bundle")]
        subprocess.run(command, check=True, capture_output=True)


def _name(tag: str) -> str:
    return f"127.0.0.1:{PORT}/image:{tag}"


def _timed(run: Callable[..., None], *arguments: str) -> float:
    os.sync()
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def _skopeo(enter: list[str], *arguments: str) -> None:
    subprocess.run([*enter, "skopeo", "--insecure-policy", "copy", "-q", *arguments], check=True)


def _client(command: list[str], environment: dict[str, str]) -> Callable[..., None]:
    def run(*arguments: str) -> None:
        done = subprocess.run(
            [*command, *arguments],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{[*command, *arguments]}: {done.stderr}")

    return run


def peers(script: str, directory: Path, umoci: str) -> list[Contender]:
    """dockerd, podman, skopeo with umoci, which share a network namespace and so the registries."""
    printed = subprocess.run([script, "up"], check=True, capture_output=True, text=True).stdout
    where = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    enter = ["nsenter", f"--target={where['PEERS_PID']}", "--net", "--"]
    share = Path(where["TMPDIR"])
    docker = _client(["docker"], {"DOCKER_HOST": where["DOCKER_HOST"]})
    insecure = _client([script, "enter", "podman", "--cgroup-manager=cgroupfs"], {})

    def podman(command: str, *arguments: str) -> None:
        flags = ["--tls-verify=false"] if command in ("pull", "push") else []
        insecure(command, *flags, *arguments)

    dockerd = Contender("dockerd", docker, enter, share, directory)
    found = [dockerd, Contender("podman", podman, enter, share, None)]
    return [*found, SkopeoAndUmoci(umoci, enter, directory)] if umoci else found


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(prog="script/bench-images", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=950, help="content of the image (default 950)")
    parser.add_argument("--files", type=int, default=34_000, help="files of the image (default 34,000)")
    parser.add_argument("--steps", default=";".join(STEPS), help=f"some of: {'; '.join(STEPS)}")
    parser.add_argument("--peers", default=str(TOP / "script/peers"), help="the script that brings them up")
    parser.add_argument(
        "--umoci", default=shutil.which("umoci") or "", help="the program, if it shall take part"
    )
    parser.add_argument("--no-peers", action="store_true", help="Corten alone")
    parser.add_argument("--samples", type=Path, help="JSON: add to what former runs have put there")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so leaves nothing behind
    steps = {step.strip() for step in arguments.steps.split(";")}
    cache = TOP / ".cache"
    image = SampleImage(arguments.megabytes, arguments.files, cache / "bench-images")
    directory = Path(tempfile.mkdtemp(prefix="bench-images-", dir=cache))
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    contenders: list[Contender] = []
    samples, peaks = _kept(arguments.samples)

    def note(name: str, taken: dict[str, float]) -> None:
        for step, seconds in taken.items():
            samples.setdefault((step, name), []).append(seconds)
            print(f"{name}: {step} {seconds:.2f} s", file=sys.stderr, flush=True)
        if arguments.samples:
            _keep(arguments.samples, samples, peaks)

    try:
        for name, layers in (("corten", "erofs"), ("corten-extract", "extract")):
            contenders.append(Corten(name, layers, directory))
        if not arguments.no_peers:
            contenders += peers(arguments.peers, directory, arguments.umoci)
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
            if number:
                time.sleep(SETTLE_S)
            tag = f"r{number}-{os.getpid()}"
            layout, archive = directory / "layout", directory / "archive.tar"
            image.write(layout, tag + LOADED)
            _skopeo([], f"oci:{layout}:x", f"docker-archive:{archive}:{_name(tag + LOADED)}")
            shutil.rmtree(layout)
            image.write(layout, tag)
            for each in contenders:
                each.publish(layout, tag)
                note(each.name, each.measure(tag, archive, steps))
            for each in contenders:
                if isinstance(each, Corten):
                    peaks[each.name] = max(peaks.get(each.name, 0), each.peak_memory)
                note(each.name, each.remove(steps))
            shutil.rmtree(layout)
            archive.unlink()
    finally:
        for each in contenders:
            each.close()
        shutil.rmtree(directory, ignore_errors=True)
    text = table(samples, [each.name for each in contenders], peaks)
    text += f"\n\n{image.bytes / 1e6:.0f} MB, {image.files} files, 3 layers; "
    text += f"rounds: {max(map(len, samples.values()))}."
    print(text)
    if arguments.readme:
        report.update_readme(TOP / "README.md", text, "bench-images")


def _kept(path: Path | None) -> tuple[Samples, dict[str, int]]:
    """Samples of former runs, and the engines' peak memory."""
    if path is None or not path.exists():
        return {}, {}
    document = json.loads(path.read_text())
    return {(step, name): taken for step, name, taken in document["samples"]}, document["peaks"]


def _keep(path: Path, samples: Samples, peaks: dict[str, int]) -> None:
    found = [[step, name, taken] for (step, name), taken in samples.items()]
    path.write_text(json.dumps({"samples": found, "peaks": peaks}, indent=1) + "\n")


def table(samples: Samples, names: list[str], peaks: dict[str, int]) -> str:
    """Markdown: seconds, and the share of dockerd's time."""
    medians = {key: statistics.median(taken) for key, taken in samples.items()}
    rows = ["| seconds (share of dockerd's) | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for step, compared in STEPS.items():
        cells = []
        for name in names:
            taken, base = medians.get((step, name)), medians.get((compared, "dockerd"))
            share = f" ({taken / base:.2f})" if taken is not None and base and name != "dockerd" else ""
            cells.append("" if taken is None else f"{taken:.2f}{share}")
        if any(cells):
            rows.append(f"| {step} | " + " | ".join(cells) + " |")
    if peaks:
        rows.append(
            "| engine's peak memory (MB) | " + " | ".join(str(peaks.get(n, "")) for n in names) + " |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
