"""Our registry beside nginx, which sends the same files by sendfile, and beside docker-registry.

What is pulled comes by bench/fetch.c: one thread that throws away what it gets. Contenders take turns in
every round; medians. Everything lies in the page cache and goes over the loopback, without TLS.
"""

import argparse
import hashlib
import http.client
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import report

TOP = Path(__file__).parent.parent
OUR_NAME = "corten"
SETTLE_S = 0.3
OURS = str(Path(sys.executable).with_name("corten-registry"))
SIZES_MIB = (1, 16, 256)
# (size in MiB, connections): what is pulled.
PULLS = ((1, 1), (1, 8), (1, 200), (16, 8), (16, 200), (256, 1), (256, 8))
PUSHING, PUSHED_MIB = 200, 2
START_S = 10
NGINX = """
daemon off; worker_processes auto; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  default_type application/octet-stream;
  client_body_temp_path {root}/1; proxy_temp_path {root}/2; fastcgi_temp_path {root}/3;
  uwsgi_temp_path {root}/4; scgi_temp_path {root}/5;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
DISTRIBUTION = """
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage: {{filesystem: {{rootdirectory: {root}/files}}}}
http: {{addr: 127.0.0.1:{port}}}
"""


@dataclass(frozen=True)
class Blob:
    """Bytes and what they are called."""

    data: bytes
    digest: str

    @classmethod
    def random(cls, size: int) -> "Blob":
        """One that nobody has."""
        data = os.urandom(size)
        return cls(data, f"sha256:{hashlib.sha256(data).hexdigest()}")


class Contender:
    """A server of blobs that runs from now to `close`, in a directory of its own."""

    def __init__(self, name: str, directory: Path, command: Callable[[Path, int], list[str]]) -> None:
        self.name = name
        self.root = directory / name
        self.root.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        with (self.root / "log").open("wb") as log:
            self._process = subprocess.Popen(command(self.root, self.port), stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {(self.root / 'log').read_text()}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def push(self, blob: Blob) -> None:
        """As docker does: ask, begin, stream, finish. Raises RuntimeError, OSError."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            _expect(client, 404, "HEAD", f"/v2/bench/blobs/{blob.digest}")
            place = _expect(client, 202, "POST", "/v2/bench/blobs/uploads/")
            place = _expect(client, 202, "PATCH", place, blob.data)
            _expect(client, 201, "PUT", f"{place}{'&' if '?' in place else '?'}digest={blob.digest}")
        finally:
            client.close()

    def offer(self, blob: Blob) -> None:
        """Have it there to be pulled."""
        self.push(blob)

    @property
    def peak_memory(self) -> int:
        """The most that the process has had in memory, in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) // 1000

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


class Nginx(Contender):
    """Files, by sendfile: the very files that our registry sends.

    Copies would be other pages of memory, larger or smaller ones as they were written: faster or slower.
    """

    def offer(self, blob: Blob) -> None:
        """See Contender; ours has it already."""
        path = self.root / "v2/bench/blobs" / blob.digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(self.root.parent / OUR_NAME / "files/blobs" / blob.digest.replace(":", "/"))
        path.chmod(0o644)  # its workers are somebody else


def _expect(
    client: http.client.HTTPConnection, status: int, method: str, path: str, body: bytes | None = None
) -> str:
    headers = {"Content-Type": "application/octet-stream"} if body is not None else {}
    client.request(method, path, body, headers)
    response = client.getresponse()
    said = response.read()
    if response.status != status:
        raise RuntimeError(f"{method} {path}: {response.status} {said[:200]!r}")
    return response.headers.get("Location", "").removeprefix(f"http://{client.host}:{client.port}")


def contenders(directory: Path, nginx: str) -> list[Contender]:
    """All of them, listening."""

    def configured(template: str, *command: str) -> Callable[[Path, int], list[str]]:
        def made(root: Path, port: int) -> list[str]:
            (root / "config").write_text(template.format(root=root, port=port))
            return [*command, str(root / "config")]

        return made

    directory.chmod(0o755)  # nginx' workers are somebody else
    found = [
        Contender(
            OUR_NAME,
            directory,
            lambda root, port: [OURS, "--listen", f"127.0.0.1:{port}", "--root", str(root / "files")],
        ),
        Nginx("nginx", directory, configured(NGINX, nginx, "-c")),
    ]
    if shutil.which("docker-registry"):
        found.append(
            Contender("docker-registry", directory, configured(DISTRIBUTION, "docker-registry", "serve"))
        )
    return found


def pulled(fetch: Path, contender: Contender, blob: Blob, connections: int, seconds: float) -> float:
    """MB/s. Raises RuntimeError if an answer was not good."""
    command = [
        str(fetch),
        str(contender.port),
        f"/v2/bench/blobs/{blob.digest}",
        str(connections),
        str(seconds),
    ]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    if int(found[2]):
        raise RuntimeError(f"{contender.name}: {found[2]} of {connections} connections failed")
    return float(found[0]) / 1e6 / float(found[3])


def pushed(contender: Contender) -> float:
    """MB/s of PUSHING clients at once, each with a blob of its own, until all are acknowledged."""
    blobs = [Blob.random(PUSHED_MIB << 20) for _ in range(PUSHING)]
    failures: list[Exception] = []

    def push(blob: Blob) -> None:
        try:
            contender.push(blob)
        except (OSError, RuntimeError, http.client.HTTPException) as e:
            failures.append(e)

    threads = [threading.Thread(target=push, args=(blob,)) for blob in blobs]
    os.sync()
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise RuntimeError(f"{contender.name}: {len(failures)} of {PUSHING} pushes failed: {failures[0]}")
    return PUSHING * PUSHED_MIB * 1.048576 / seconds


def table(samples: dict[tuple[str, str], list[float]], names: list[str], peaks: dict[str, int]) -> str:
    """Markdown, with the share of what nginx sends."""
    rows = ["| MB/s | " + " | ".join(names) + " | of nginx |", "|---|" + "---:|" * (len(names) + 1)]
    medians = {key: statistics.median(taken) for key, taken in samples.items()}
    for case in dict.fromkeys(case for case, _ in samples):
        ours, theirs = medians.get((case, OUR_NAME)), medians.get((case, "nginx"))
        cells = [f"{medians[case, name]:.0f}" if (case, name) in medians else "" for name in names]
        share = f"{ours / theirs:.2f}" if ours and theirs else ""
        rows.append(f"| {case} | " + " | ".join(cells) + f" | {share} |")
    cells = [str(peaks.get(name, "")) for name in names]
    rows.append("| peak memory after all this (MB) | " + " | ".join(cells) + " | |")
    return "\n".join(rows)


def measure(
    found: list[Contender], fetch: Path, rounds: int, seconds: float
) -> dict[tuple[str, str], list[float]]:
    """MB/s by case and contender."""
    blobs = {size: Blob.random(size << 20) for size in SIZES_MIB}
    samples: dict[tuple[str, str], list[float]] = {}
    for contender in found:
        for blob in blobs.values():
            contender.offer(blob)
    for turn in range(rounds):
        first = turn % len(found)  # whoever comes after another has what that one still does beside him
        for size, connections in PULLS:
            case = f"pull, {size} MiB, {connections} client{'s' if connections > 1 else ''}"
            for contender in found[first:] + found[:first]:
                time.sleep(SETTLE_S)
                rate = pulled(fetch, contender, blobs[size], connections, seconds)
                samples.setdefault((case, contender.name), []).append(rate)
        for contender in found:
            if not isinstance(contender, Nginx):
                case = f"push, {PUSHED_MIB} MiB each, {PUSHING} clients"
                samples.setdefault((case, contender.name), []).append(pushed(contender))
    return samples


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(prog="script/bench-registry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="for each figure in each round (default 1)")
    parser.add_argument("--nginx", default="nginx", help="its program")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-registry-", dir=TOP / ".cache"))
    found: list[Contender] = []
    try:
        fetch = directory / "fetch"
        options = ["-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE"]
        subprocess.run(["gcc", *options, "-o", fetch, TOP / "bench/fetch.c"], check=True)
        found = contenders(directory, arguments.nginx)
        samples = measure(found, fetch, arguments.rounds, arguments.seconds)
        peaks = {each.name: each.peak_memory for each in found if not isinstance(each, Nginx)}
    finally:
        for each in found:
            each.close()
        shutil.rmtree(directory, ignore_errors=True)
    text = table(samples, [each.name for each in found], peaks)
    print(text)
    if arguments.docs:
        report.update_readme(TOP / "docs" / "benchmarks.md", text, "bench-registry")


if __name__ == "__main__":
    main()
