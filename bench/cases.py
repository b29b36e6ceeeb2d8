"""What is measured: each case knows how to take a few samples, in milliseconds."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import execs
from contenders import Contenders
from http_client import Client, run_once

from corten.snapshots.underlay import make_underlay

IN_FLIGHT = 10
LOG_BYTES = 128 << 20  # a sample; a GiB in seven rounds and the warming one
NETWORKS = ("none", "bridge")
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD "
    "AUDIT_WRITE SETFCAP"
)


@dataclass(frozen=True)
class Case:
    """`sample(n)` makes n runs. name: what is run; who: by whom; unit: what a sample is."""

    name: str
    who: str
    sample: Callable[[int], list[float]]
    batch: int
    unit: str = "ms"


def _milliseconds(output: str) -> list[float]:
    return [int(line) / 1e6 for line in output.split()]


def api(socket_path: str, network: str) -> Callable[[int], list[float]]:
    """create + start + wait + remove over one kept-alive connection."""

    def sample(count: int) -> list[float]:
        client, taken = Client(socket_path), []
        for _ in range(count):
            start = time.perf_counter()
            run_once(client, network)
            taken.append((time.perf_counter() - start) * 1000)
        client.close()
        return taken

    return sample


def api_throughput(socket_path: str) -> Callable[[int], list[float]]:
    """Containers started and finished per second, ten in flight, each on a connection of its own."""

    def sample(count: int) -> list[float]:
        clients = [Client(socket_path) for _ in range(IN_FLIGHT)]
        share = count // IN_FLIGHT
        start = time.perf_counter()
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            for done in [pool.submit(_run_many, client, share) for client in clients]:
                done.result()
        elapsed = time.perf_counter() - start
        for client in clients:
            client.close()
        return [share * IN_FLIGHT / elapsed]

    return sample


def _run_many(client: Client, count: int) -> None:
    for _ in range(count):
        run_once(client, "none")


def logging_rate(socket_path: str, line_bytes: int) -> Callable[[int], list[float]]:
    """MB per second that a container gets rid of through the default log driver, in lines of a length."""
    script = f"l=$(head -c {line_bytes - 1} /dev/zero | tr '\\0' x); yes $l | head -c {LOG_BYTES}"

    def sample(count: int) -> list[float]:
        client, taken = Client(socket_path), []
        for _ in range(count):
            start = time.perf_counter()
            run_once(client, "none", arguments=("sh", "-c", script))
            taken.append(LOG_BYTES / 1e6 / (time.perf_counter() - start))
        client.close()
        return taken

    return sample


def command(binary: Path, *arguments: str, host: str = "") -> Callable[[int], list[float]]:
    """A program on this side, timed from spawn to exit."""
    environment = {**os.environ, "DOCKER_HOST": host, "CORTEN_HOST": host, "DOCKER_CONFIG": "/nonexistent"}

    def sample(count: int) -> list[float]:
        done = subprocess.run(
            [binary, str(count), "1", *arguments], env=environment, capture_output=True, text=True, check=True
        )
        return _milliseconds(done.stdout)[:-1]

    return sample


def inside(contenders: Contenders, *arguments: str, in_flight: int = 1) -> Callable[[int], list[float]]:
    """A program among the peers. With more than one in flight: runs per second."""

    def sample(count: int) -> list[float]:
        taken = _milliseconds(contenders.inside("/peers/spawn", str(count), str(in_flight), *arguments))
        return taken[:-1] if in_flight == 1 else [count / taken[-1] * 1000]

    return sample


def floor(contenders: Contenders, *, in_flight: int = 1) -> Callable[[int], list[float]]:
    """bench/floor.c. With more than one in flight: containers per second."""
    from corten.linux.seccomp.profile import default_filter

    work, program = contenders.floor.with_name("floor-work"), contenders.floor.with_name("seccomp.bpf")
    work.mkdir(exist_ok=True)
    program.write_bytes(default_filter([f"CAP_{name}" for name in _CAPABILITIES.split()]))
    underlay = make_underlay(str(contenders.floor.with_name("floor-underlay")))
    lower = f"{contenders.lower}:{underlay}"

    def sample(count: int) -> list[float]:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as run:
            command = [contenders.floor, str(count), str(in_flight), work, run, lower, program]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        taken = _milliseconds(done.stdout)
        return taken[:-1] if in_flight == 1 else [count / taken[-1] * 1000]

    return sample


def all_cases(contenders: Contenders) -> list[Case]:
    """In the order of the table."""
    docker, podman = contenders.docker_socket, ("podman", "--cgroup-manager=cgroupfs")
    crun = ("crun", "--cgroup-manager=cgroupfs", "run", "--bundle", "/peers/bundle", "{}")
    engines = {"dockerd": docker}
    if contenders.corten is not None:
        engines["corten"] = contenders.corten_socket
    cases = []
    for network in NETWORKS:
        for who, path in engines.items():
            cases.append(Case(f"API, {network}", who, api(path, network), 5 if who == "dockerd" else 20))
    cases.append(Case("API, none", "floor in C", floor(contenders), 20))
    run = ("run", "--rm", "--network")
    for network in NETWORKS:
        for who, path in engines.items():
            sample = command(
                contenders.spawn, "docker", *run, network, "busybox", "true", host=f"unix://{path}"
            )
            cases.append(Case(f"docker run, {network}", who, sample, 4 if who == "dockerd" else 10))
        if contenders.corten is not None:
            arguments = (str(Path(sys.executable).with_name("corten")), *run, network, "busybox", "true")
            sample = command(contenders.spawn, *arguments, host=f"unix://{contenders.corten_socket}")
            cases.append(Case(f"own CLI run, {network}", "corten", sample, 10))
        sample = inside(contenders, *podman, *run, network, "busybox", "true")
        cases.append(Case(f"own CLI run, {network}", "podman", sample, 3))
    cases.append(Case("bundle run", "crun", inside(contenders, *crun), 10))
    for line_bytes, shown in ((80, "80 B"), (16384, "16 KiB")):
        for who, path in engines.items():
            cases.append(Case(f"logs, lines of {shown}", who, logging_rate(path, line_bytes), 1, "MB/s"))
    for who, path in engines.items():
        cases.append(Case("exec true", who, execs.latency(path), 5 if who == "dockerd" else 20))
    for name, streamed in execs.STREAMS.items():
        for who, path in engines.items():
            cases.append(Case(name, who, execs.rate(path, streamed), 1, "MB/s"))
    rate = f"{IN_FLIGHT} in flight"
    for who, path in engines.items():
        cases.append(Case(rate, who, api_throughput(path), 20 if who == "dockerd" else 300, "/s"))
    cases.append(Case(rate, "floor in C", floor(contenders, in_flight=IN_FLIGHT), 200, "/s"))
    cases.append(Case(rate, "crun", inside(contenders, *crun, in_flight=IN_FLIGHT), 60, "/s"))
    return cases
