"""Many containers, then a look at what is left of them: `script/soak`; tests/chaos/test_soak.py has a short form.

Containers are started and finished, so many in flight; then some run at once while they are listed and the
engine is killed and started again. Nothing may be left behind by either.
"""

import argparse
import contextlib
import http.client
import json
import socket
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

import census
import lives
from engine import Engine

_SETTLE_S = 60.0
_WARM_UP = 60
_API = "/v1.45"


class Client:
    """Keep-alive connections to one engine, one a thread."""

    def __init__(self, engine: Engine) -> None:
        self._path = str(engine.socket)
        self._threads = local()
        self._connections: list[http.client.HTTPConnection] = []

    def __call__(self, method: str, path: str, body: object = None) -> bytes:
        """The answer's body. Raises RuntimeError unless it is a 2xx."""
        connection: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._threads.connection = http.client.HTTPConnection("engine")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self._path)
            self._connections.append(connection)
        headers = {"Content-Type": "application/json"}
        connection.request(method, _API + path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data.decode(errors='replace')}")
        return data

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._connections:
            connection.close()


def run_one(client: Client, number: int) -> None:
    """create, start, wait, remove; a line of output, and an exit code of its own."""
    code = number % 7
    body = {
        "Image": "busybox",
        "Cmd": ["sh", "-c", f"echo {number}; exit {code}"],
        **lives.container(number),
    }
    identity = json.loads(client("POST", "/containers/create", body))["Id"]
    client("POST", f"/containers/{identity}/start")
    ended = json.loads(client("POST", f"/containers/{identity}/wait"))["StatusCode"]
    if ended != code:
        raise RuntimeError(f"container {number} exited with {ended}, not {code}")
    output = client("GET", f"/containers/{identity}/logs?stdout=1")[8:].decode()
    if output != f"{number}\n":
        raise RuntimeError(f"container {number} said {output!r}")
    client("DELETE", f"/containers/{identity}?v=1")


def run_many(engine: Engine, count: int, in_flight: int) -> float:
    """Containers per second."""
    if engine.request("GET", f"{_API}/networks/{lives.NETWORK}")[0] == 404:
        engine.request("POST", f"{_API}/networks/create", {"Name": lives.NETWORK})
    client, start = Client(engine), time.perf_counter()
    with contextlib.closing(client), ThreadPoolExecutor(in_flight) as pool:
        for done in [pool.submit(run_one, client, number) for number in range(count)]:
            done.result()
    return count / (time.perf_counter() - start)


def churn(engine: Engine, count: int, in_flight: int) -> dict[str, object]:
    """Start and finish `count` containers. Returns what was measured, and "left" behind."""
    run_many(engine, _WARM_UP, in_flight)
    before, memory = census.quiet(engine, _SETTLE_S), census.resident_kb(engine.pid)
    rate = run_many(engine, count, in_flight)
    left = census.settled(engine, before, _SETTLE_S)
    after = census.resident_kb(engine.pid)
    return {
        "containers": count,
        "per second": round(rate, 1),
        "engine RSS kB before": memory,
        "engine RSS kB after": after,
        "left": left,
    }


def crowd(engine: Engine, count: int, in_flight: int) -> dict[str, object]:
    """Have `count` running at once; list them, kill the engine, let it find them again; remove them."""
    engine.kill()  # it is compared with itself after the next one
    engine.start()
    run_many(engine, _WARM_UP, in_flight)
    before, client = census.quiet(engine, _SETTLE_S), Client(engine)

    def start(number: int) -> None:
        body = {
            "Image": "busybox",
            "Cmd": ["sleep", "3600"],
            **lives.container(number),
        }
        client("POST", f"/containers/create?name=crowd{number}", body)
        client("POST", f"/containers/crowd{number}/start")

    with ThreadPoolExecutor(in_flight) as pool:
        list(pool.map(start, range(count)))
    listing = []
    for _ in range(20):
        begin = time.perf_counter()
        client("GET", "/containers/json")
        listing.append((time.perf_counter() - begin) * 1000)
    client.close()
    engine.kill()
    begin = time.perf_counter()
    engine.start()
    adopted = time.perf_counter() - begin
    client = Client(engine)
    running = len(json.loads(client("GET", "/containers/json")))
    with ThreadPoolExecutor(in_flight) as pool:
        list(
            pool.map(lambda number: client("DELETE", f"/containers/crowd{number}?force=1&v=1"), range(count))
        )
    client.close()
    return {
        "running at once": count,
        "list ms": round(statistics.median(listing), 1),
        "adopted in s": round(adopted, 2),
        "running after kill -9": running,
        "left": census.settled(engine, before, _SETTLE_S),
    }


def main() -> int:
    """The command line; 1 if anything was left behind."""
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="containers to start and finish")
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--running", type=int, default=500, help="containers to run at once")
    parser.add_argument("--image", type=Path, required=True, help="a root file system with busybox, as a tar")
    options = parser.parse_args()
    engine = Engine()
    try:
        engine.start()
        engine.run("docker", "import", str(options.image), "busybox")
        results = [
            churn(engine, options.count, options.in_flight),
            crowd(engine, options.running, options.in_flight),
        ]
    finally:
        engine.close()
    bad = False
    for result in results:
        for name, value in result.items():
            print(f"{name:24} {value}")
        bad = (
            bad
            or bool(result["left"])
            or result.get("running at once") != result.get("running after kill -9")
        )
    print("soak: left something behind" if bad else "soak: nothing left behind")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
