"""Networks side by side with dockerd: throughput between containers and through published ports, and what
making a network, joining one and publishing ports takes; `script/bench-network --help`.

Client and server are iperf3 in containers; who comes "from the host" is a container on the host's network.
Rounds of both engines alternate; medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import report
from debian import root_of
from http_client import Client

from engine import Engine

TOP = Path(__file__).parent.parent
OUT = TOP / ".cache" / "bench-network"
SECONDS = 2  # of one transfer
NETWORK = "bench"
SERVER_PORT, PUBLISHED, RELAYED = 5201, 15201, 15202
PORTS = {"corten": 1000, "dockerd": 100}  # its proxy is a process for each port
SOCKET = {"corten.publish-mode": "socket"}
Samples = dict[tuple[str, str], list[float]]


class Contender:
    """One engine with the image "iperf" and a server on a network of its own."""

    def __init__(self, name: str, socket: str, image: Path) -> None:
        self.name = name
        self._client = Client(socket)
        environment = {**os.environ, "DOCKER_HOST": f"unix://{socket}"}
        subprocess.run(
            ["docker", "import", str(image), "iperf"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        self._networks = 0
        self.call("POST", "/networks/create", {"Name": NETWORK})
        server = ["iperf3", "-s"]
        self.start("server", server, network=NETWORK, ports={SERVER_PORT: PUBLISHED})
        if name == "corten":
            self.start("relayed", server, network=NETWORK, ports={SERVER_PORT: RELAYED}, labels=SOCKET)
        self.start("sleeper", ["busybox", "sleep", "3600"], network=NETWORK)
        (config,) = json.loads(self.call("GET", f"/networks/{NETWORK}"))["IPAM"]["Config"]
        self.gateway = config["Gateway"]

    def call(self, method: str, path: str, body: object = None) -> bytes:
        """One request."""
        return self._client.request(method, f"/v1.45{path}", body)

    def create(
        self,
        name: str,
        command: list[str],
        *,
        network: str,
        ports: dict[int, int] | None = None,
        labels: dict[str, str] | None = None,
    ) -> None:
        """A container, not yet started."""
        bindings = {f"{inner}/tcp": [{"HostPort": str(outer)}] for inner, outer in (ports or {}).items()}
        host = {"NetworkMode": network, "PortBindings": bindings}
        config = {"Image": "iperf", "Cmd": command, "HostConfig": host, "Labels": labels or {}}
        config["ExposedPorts"] = {port: {} for port in bindings}
        self.call("POST", f"/containers/create?name=bench-{name}", config)

    def start(self, name: str, command: list[str], **options: object) -> None:
        """A running container."""
        self.create(name, command, **options)  # type: ignore[arg-type]
        self.call("POST", f"/containers/bench-{name}/start")

    def remove(self, name: str) -> None:
        """Gone."""
        self.call("DELETE", f"/containers/bench-{name}?force=1")

    def throughput(self, network: str, address: str, port: int) -> float:
        """Gbit/s from a container on `network` to a server."""
        command = ["iperf3", "-c", address, "-p", str(port), "-t", str(SECONDS), "-J"]
        self.start("client", command, network=network)
        try:
            self.call("POST", "/containers/bench-client/wait")
            log = self.call("GET", "/containers/bench-client/logs?stdout=1")
        finally:
            self.remove("client")
        text = b"".join(_payloads(log)).decode()
        return float(json.loads(text)["end"]["sum_received"]["bits_per_second"]) / 1e9

    def create_network(self) -> float:
        """Milliseconds of `network create`."""
        self._networks += 1
        name = f"{NETWORK}-{self._networks}"
        taken = _timed(lambda: self.call("POST", "/networks/create", {"Name": name}))
        self.call("DELETE", f"/networks/{name}")
        return taken

    def join(self) -> float:
        """Milliseconds of `network connect` for a running container."""
        body = {"Container": "bench-sleeper"}
        self.call("POST", f"/networks/{NETWORK}/disconnect", body)
        return _timed(lambda: self.call("POST", f"/networks/{NETWORK}/connect", body))

    def start_joined(self) -> float:
        """Milliseconds of the start of a container on a user-defined network."""
        self.create("joined", ["busybox", "sleep", "3600"], network=NETWORK)
        taken = _timed(lambda: self.call("POST", "/containers/bench-joined/start"))
        self.remove("joined")
        return taken

    def publish(self) -> float:
        """Milliseconds that a published port adds to `start`, on the average of many."""
        count = PORTS[self.name]
        taken = []
        for ports in ({}, {20000 + n: 20000 + n for n in range(count)}):
            self.create("ports", ["busybox", "sleep", "3600"], network=NETWORK, ports=ports)
            taken.append(_timed(lambda: self.call("POST", "/containers/bench-ports/start")))
            self.remove("ports")
        return (taken[1] - taken[0]) / count

    def close(self) -> None:
        """Leave nothing."""
        for name in ("client", "ports", "joined", "server", "relayed", "sleeper"):
            try:
                self.remove(name)
            except RuntimeError:
                pass
        self.call("DELETE", f"/networks/{NETWORK}")
        self.call("DELETE", "/images/iperf?force=1")
        self._client.close()


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def _payloads(log: bytes) -> list[bytes]:
    """What frames of the multiplexed stream hold."""
    found = []
    while log:
        size = int.from_bytes(log[4:8], "big")
        found.append(log[8 : 8 + size])
        log = log[8 + size :]
    return found


def steps(contender: Contender) -> dict[str, tuple[int, Callable[[], float]]]:
    """What is measured: how often in a round, and how."""
    found = {
        "container to container (Gbit/s)": (
            1,
            lambda: contender.throughput(NETWORK, "bench-server", SERVER_PORT),
        ),
        "published port (Gbit/s)": (1, lambda: contender.throughput("host", contender.gateway, PUBLISHED)),
        "network create (ms)": (5, contender.create_network),
        "network connect (ms)": (10, contender.join),
        "start on a network (ms)": (10, contender.start_joined),
        "a published port (ms)": (1, contender.publish),
    }
    if contender.name == "corten":
        relayed = "published port, socket mode (Gbit/s)"
        found[relayed] = (1, lambda: contender.throughput("host", contender.gateway, RELAYED))
    return found


def table(samples: Samples) -> str:
    """Markdown, with how much better ours is."""
    medians = {key: statistics.median(values) for key, values in samples.items()}
    rows = ["| | Corten | dockerd | ratio |", "|---|---:|---:|---:|"]
    for step in dict.fromkeys(step for step, _ in samples):
        ours = medians[step, "corten"]
        plain = "published port (Gbit/s)" if "socket mode" in step else step
        theirs = medians[plain, "dockerd"]
        ratio = ours / theirs if "Gbit" in step else theirs / ours
        rows.append(f"| {step} | {_shown(ours)} | {_shown(theirs)} | {ratio:.1f} |")
    return "\n".join(rows)


def _shown(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench-network", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    image = root_of("iperf3")
    printed = subprocess.run([TOP / "script/peers", "up"], check=True, capture_output=True, text=True).stdout
    peers = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    os.environ["TMPDIR"] = str(OUT)  # our root on the same file system as dockerd's
    engine = Engine()
    contenders: list[Contender] = []
    samples: Samples = {}
    try:
        engine.start()
        contenders.append(Contender("corten", str(engine.socket), image))
        contenders.append(Contender("dockerd", peers["DOCKER_HOST"].removeprefix("unix://"), image))
        for _ in range(arguments.rounds):
            for contender in contenders:
                for step, (count, measure) in steps(contender).items():
                    samples.setdefault((step, contender.name), []).extend(measure() for _ in range(count))
    finally:
        for contender in contenders:
            contender.close()
        engine.close()
    text = table(samples)
    print(text)
    if arguments.docs:
        report.update_readme(TOP / "docs" / "benchmarks.md", text, "bench-network")


if __name__ == "__main__":
    main()
