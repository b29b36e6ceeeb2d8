"""Images between registry, archive and disk: pull, save, push, rmi, load; `script/bench-images --help`.

Every round has an image of its own (other digests, same files), so that nobody finds layers of the round
before. All pull from one registry of ours and push to another, both in the engine's
network namespace. Median of rounds.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine import Engine

TOP = Path(__file__).parent.parent
REGISTRY = str(Path(sys.executable).with_name("corten-registry"))
PORT = 5000
SHARES = (0.6, 0.3, 0.1)  # of the three layers
STEPS = ("pull", "save", "push", "rmi", "load")


class Image:
    """Real files of this machine, in three gzip layers, as an OCI layout that skopeo understands."""

    def __init__(self, megabytes: int) -> None:
        self.layers: list[list[str]] = []
        files = self._files()
        for share in SHARES:
            wanted, layer = share * megabytes * 1e6, []
            while wanted > 0 and (path := next(files, None)) is not None:
                layer.append(path)
                wanted -= os.path.getsize(path)
            self.layers.append(layer)

    @staticmethod
    def _files() -> Iterator[str]:
        for top in ("/usr/lib", "/usr/share", "/usr/bin", "/usr/include", "/opt", sys.prefix):
            for parent, directories, names in os.walk(top):
                directories.sort()
                for name in sorted(names):
                    path = os.path.join(parent, name)
                    if os.path.isfile(path) and not os.path.islink(path):
                        yield path

    def write(self, target: Path, seed: str) -> None:
        """The layout, with a file in each layer that makes it this round's."""
        blobs = target / "blobs/sha256"
        blobs.mkdir(parents=True)
        diff_ids, layers = [], []
        for number, files in enumerate(self.layers):
            plain = target / "layer.tar"
            with tarfile.open(plain, "w") as tar:
                info = tarfile.TarInfo(f"seed-{number}")
                info.size = len(seed)
                tar.addfile(info, io.BytesIO(seed.encode()))
                for path in files:
                    tar.add(path, arcname=path.lstrip("/"), recursive=False)
            diff_ids.append(f"sha256:{_digest(plain)}")
            packed = target / "packed"
            with open(plain, "rb") as source, gzip.open(packed, "wb", compresslevel=1) as out:
                shutil.copyfileobj(source, out, 1 << 20)
            plain.unlink()
            layers.append(self._blob(blobs, packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self._document(blobs, config, "application/vnd.oci.image.config.v1+json"),
            "layers": layers,
        }
        described = self._document(blobs, manifest, manifest["mediaType"])
        described["annotations"] = {"org.opencontainers.image.ref.name": "x"}
        (target / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))

    @staticmethod
    def _blob(blobs: Path, file: Path, media_type: str) -> dict:
        digest, size = _digest(file), file.stat().st_size
        file.rename(blobs / digest)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}

    def _document(self, blobs: Path, document: object, media_type: str) -> dict:
        file = blobs / "document"
        file.write_text(json.dumps(document))
        return self._blob(blobs, file, media_type)


def _digest(file: Path) -> str:
    with open(file, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class Contender:
    """One engine. `run` executes its client; enter: begins commands that run in its network namespace.

    directory: of its two registries, to pull from and to push to; None: somebody else has them there already.
    """

    def __init__(self, name: str, run: Callable[..., None], enter: list[str], directory: Path | None) -> None:
        self.name = name
        self.run = run
        self.enter = enter
        self._registries: list[subprocess.Popen[str]] = []
        for port in (PORT, PORT + 1) if directory is not None else ():
            root = str(directory / f"registry-{name}-{port}")
            command = [*enter, REGISTRY, "--listen", f"127.0.0.1:{port}", "--root", root]
            self._registries.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            if "serving" not in (first := self._registries[-1].stderr.readline()):
                raise RuntimeError(f"no registry for {name}: {first}")

    def publish(self, layout: Path, tag: str) -> None:
        """Put the round's image into the registry (not timed)."""
        if not self._registries:
            return
        skopeo = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
        there = f"docker://127.0.0.1:{PORT}/image:{tag}"
        subprocess.run([*self.enter, *skopeo, f"oci:{layout}:x", there], check=True)

    def measure(self, tag: str, archive: str) -> dict[str, float]:
        """Seconds for each step. `archive`: a path that its client can write and read."""
        name = f"127.0.0.1:{PORT}/image:{tag}"
        pushed = f"127.0.0.1:{PORT + 1}/{self.name}:{tag}"
        taken = {"pull": _timed(self.run, "pull", name)}
        taken["save"] = _timed(self.run, "save", "-o", archive, name)
        self.run("tag", name, pushed)
        taken["push"] = _timed(self.run, "push", pushed)
        taken["rmi"] = _timed(self.run, "rmi", name, pushed)
        taken["load"] = _timed(self.run, "load", "-i", archive)
        self.run("rmi", name)
        return taken

    def close(self) -> None:
        """End its registries."""
        for registry in self._registries:
            registry.terminate()
            registry.wait()
            registry.stderr.close()


def _timed(run: Callable[..., None], *arguments: str) -> float:
    os.sync()
    start = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - start


def _client(command: list[str], environment: dict[str, str]) -> Callable[..., None]:
    def run(*arguments: str) -> None:
        done = subprocess.run(
            [*command, *arguments], env={**os.environ, **environment}, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{[*command, *arguments]}: {done.stderr}")

    return run


def corten(name: str, engine: Engine, directory: Path) -> Contender:
    """An engine of ours; its client is the docker CLI, as dockerd's is."""
    enter = ["nsenter", f"--target={engine.sandbox.pid}", "--net", "--"]
    return Contender(name, _client(["docker"], {"DOCKER_HOST": engine.docker_host}), enter, directory)


def peers(script: str, directory: Path) -> tuple[list[Contender], Path]:
    """dockerd and podman, which share their namespaces and so the registries."""
    printed = subprocess.run([script, "up"], check=True, capture_output=True, text=True).stdout
    found = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    enter = ["nsenter", f"--target={found['PEERS_PID']}", "--net", "--"]
    docker = _client(["docker"], {"DOCKER_HOST": found["DOCKER_HOST"]})
    dockerd = Contender("dockerd", docker, enter, directory)
    insecure = _client([script, "enter", "podman", "--cgroup-manager=cgroupfs"], {})

    def podman(command: str, *arguments: str) -> None:
        flags = ["--tls-verify=false"] if command in ("pull", "push") else []
        insecure(command, *flags, *arguments)

    return [dockerd, Contender("podman", podman, enter, None)], Path(found["TMPDIR"])


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(prog="script/bench-images", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=950, help="content of the image (default 950)")
    parser.add_argument("--peers", default=str(TOP / "script/peers"), help="the script that brings them up")
    parser.add_argument("--no-peers", action="store_true", help="Corten alone")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-images-", dir=TOP / ".cache"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    engines, contenders, archives = [], [], {}
    samples: dict[tuple[str, str], list[float]] = {}
    try:
        for name, config in (("corten", None), ("corten erofs", {"storage-opts": ["corten.layers=erofs"]})):
            engines.append(Engine(config))
            engines[-1].start()
            contenders.append(corten(name.replace(" ", "-"), engines[-1], directory))
        if not arguments.no_peers:
            theirs, shared = peers(arguments.peers, directory)
            contenders += theirs
            archives = {each.name: str(shared / "bench.tar") for each in theirs}
        image = Image(arguments.megabytes)
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
            tag = f"r{number}-{os.getpid()}"
            layout = directory / "layout"
            image.write(layout, tag)
            for each in contenders:
                each.publish(layout, tag)
                archive = archives.get(each.name, str(directory / "bench.tar"))
                for step, seconds in each.measure(tag, archive).items():
                    samples.setdefault((step, each.name), []).append(seconds)
                Path(archive).unlink(missing_ok=True)
            shutil.rmtree(layout)
    finally:
        for each in contenders:
            each.close()
        for engine in engines:
            engine.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(table(samples, [each.name for each in contenders], sum(map(len, image.layers))))


def table(samples: dict[tuple[str, str], list[float]], names: list[str], files: int) -> str:
    """Markdown: seconds, and the share of dockerd's time."""
    rows = [f"{files} files, seconds (share of dockerd's)", "", "| | " + " | ".join(names) + " |"]
    rows.append("|---|" + "---:|" * len(names))
    for step in STEPS:
        medians = {name: statistics.median(samples[step, name]) for name in names}
        base = medians.get("dockerd")
        cells = [f"{m:.2f}" + (f" ({m / base:.2f})" if base else "") for m in medians.values()]
        rows.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
