"""Images between registry, archive and disk: pull, save, push, rmi, load; `script/bench-images --help`.

Every round has an image of its own (other digests, same files), so that nobody finds layers of the round
before. All pull from one registry of ours and push to another, both in the engine's
network namespace. Median of rounds.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
    "save, raw layers": "save",
    "push": "push",
    "push, raw layers": "push",
    "rmi": "rmi",
}
RAW = ", raw layers"


class Contender:
    """One engine. `run` executes its client; enter: begins commands that run in its network namespace.

    directory: of its two registries, to pull from and to push to; None: somebody else has them there already.
    share: where its client can read and write files.
    """

    keeps_blobs = False

    def __init__(
        self, name: str, run: Callable[..., None], enter: list[str], share: Path, directory: Path | None
    ) -> None:
        self.name = name
        self.run = run
        self.enter = enter
        self.share = share
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
            there = f"docker://127.0.0.1:{PORT}/image:{tag}"
            _skopeo(self.enter, "--dest-tls-verify=false", f"oci:{layout}:x", there)

    def measure(self, layout: Path, tag: str, steps: set[str]) -> dict[str, float]:
        """Seconds for each step."""
        name, pushed = f"127.0.0.1:{PORT}/image:{tag}", f"127.0.0.1:{PORT + 1}/{self.name}"
        archive, raw = self.share / "saved.tar", self.share / "raw.tar"
        taken: dict[str, float] = {}

        def timed(step: str, *arguments: str) -> None:
            if step in steps:
                taken[step] = _timed(self.run, *arguments)

        def sent(kind: str) -> None:
            timed(f"save{kind}", "save", "-o", str(archive), name)
            archive.unlink(missing_ok=True)
            if f"push{kind}" in steps:
                there = f"{pushed}{len(kind)}:{tag}"
                self.run("tag", name, there)
                timed(f"push{kind}", "push", there)
                self.run("rmi", there)

        if steps & {"pull", "save", "push", "rmi"}:
            timed("pull", "pull", name)
            sent("")
            timed("rmi", "rmi", name)
        if steps & {"load", f"save{RAW}", f"push{RAW}"}:
            _skopeo([], f"oci:{layout}:x", f"docker-archive:{raw}:{name}")
            timed("load", "load", "-i", str(raw))
            raw.unlink()
            if self.keeps_blobs:
                sent(RAW)
            self.run("rmi", name)
        return taken

    def close(self) -> None:
        """End its registries."""
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
        super().close()
        self.engine.close()


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
            [*command, *arguments], env={**os.environ, **environment}, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{[*command, *arguments]}: {done.stderr}")

    return run


def peers(script: str, directory: Path) -> list[Contender]:
    """dockerd and podman, which share their namespaces and so the registries."""
    printed = subprocess.run([script, "up"], check=True, capture_output=True, text=True).stdout
    found = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    enter = ["nsenter", f"--target={found['PEERS_PID']}", "--net", "--"]
    share = Path(found["TMPDIR"])
    docker = _client(["docker"], {"DOCKER_HOST": found["DOCKER_HOST"]})
    insecure = _client([script, "enter", "podman", "--cgroup-manager=cgroupfs"], {})

    def podman(command: str, *arguments: str) -> None:
        flags = ["--tls-verify=false"] if command in ("pull", "push") else []
        insecure(command, *flags, *arguments)

    dockerd = Contender("dockerd", docker, enter, share, directory)
    return [dockerd, Contender("podman", podman, enter, share, None)]


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(prog="script/bench-images", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=950, help="content of the image (default 950)")
    parser.add_argument("--files", type=int, default=34_000, help="files of the image (default 34,000)")
    parser.add_argument("--steps", default=";".join(STEPS), help=f"some of: {'; '.join(STEPS)}")
    parser.add_argument("--peers", default=str(TOP / "script/peers"), help="the script that brings them up")
    parser.add_argument("--no-peers", action="store_true", help="Corten alone")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so leaves nothing behind
    steps = {step.strip() for step in arguments.steps.split(";")}
    cache = TOP / ".cache"
    image = SampleImage(arguments.megabytes, arguments.files, cache / "bench-images")
    directory = Path(tempfile.mkdtemp(prefix="bench-images-", dir=cache))
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    contenders: list[Contender] = []
    samples: dict[tuple[str, str], list[float]] = {}
    try:
        for name, layers in (("corten", "erofs"), ("corten-extract", "extract")):
            contenders.append(Corten(name, layers, directory))
        if not arguments.no_peers:
            contenders += peers(arguments.peers, directory)
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
            tag = f"r{number}-{os.getpid()}"
            layout = directory / "layout"
            image.write(layout, tag)
            for each in contenders:
                each.publish(layout, tag)
                for step, seconds in each.measure(layout, tag, steps).items():
                    samples.setdefault((step, each.name), []).append(seconds)
                    print(f"{each.name}: {step} {seconds:.2f} s", file=sys.stderr, flush=True)
            shutil.rmtree(layout)
        peaks = {each.name: each.peak_memory for each in contenders if isinstance(each, Corten)}
    finally:
        for each in contenders:
            each.close()
        shutil.rmtree(directory, ignore_errors=True)
    text = table(samples, [each.name for each in contenders], peaks)
    text += f"\n\n{image.bytes / 1e6:.0f} MB, {image.files} files, 3 layers; {arguments.rounds} rounds."
    print(text)
    if arguments.readme:
        report.update_readme(TOP / "README.md", text, "bench-images")


def table(samples: dict[tuple[str, str], list[float]], names: list[str], peaks: dict[str, int]) -> str:
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
