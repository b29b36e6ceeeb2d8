"""kill -9 at random while containers live: `script/chaos`; tests/chaos/test_mayhem.py has a short form.

Workers take containers through their lives; every so often the engine, the supervisor or one of its companions
is killed. Whoever drives the API repeats what was cut off, as any client must. In the end every exit
code and every log line must have been right, and nothing may be left.
"""

import argparse
import http.client
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import census
import lives
from engine import Engine

VICTIMS = ("cortend", "corten-super", "corten-logs", "corten-janitor", "corten-netd", "corten-relay")
_LINES = 12
_SCRIPT = "i=0; while [ $i -lt $1 ]; do echo line $i; i=$((i+1)); usleep 20000; done; exit $2"
_API = "/v1.45"
_PATIENCE_S = 60.0
_SETTLE_S = 60.0


class Mayhem:
    """One engine, its killer, and what went wrong."""

    def __init__(
        self, engine: Engine, victims: Sequence[str], seed: int, pause_s: float, kinds: int = lives.KINDS
    ) -> None:
        self._victims, self._kinds = victims, kinds
        self._engine, self._random, self._pause_s = engine, random.Random(seed), pause_s  # noqa: S311
        self._over = threading.Event()
        self.killed: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self, count: int, in_flight: int) -> None:
        """Take `count` containers through their lives."""
        killer = threading.Thread(target=self._kill_now_and_then)
        killer.start()
        try:
            with ThreadPoolExecutor(in_flight) as pool:
                for number, problem in enumerate(pool.map(self._live, range(count))):
                    if problem:
                        self.wrong.append(f"container {number}: {problem}")
        finally:
            self._over.set()
            killer.join()

    # -- the killer -----------------------------------------------------------------------------

    def _kill_now_and_then(self) -> None:
        while not self._over.wait(self._random.uniform(0.2, 1.8) * self._pause_s):
            victim = self._random.choice(self._victims)
            if victim == "cortend":
                self._engine.kill()
                self._engine.start()
            elif not self._kill(victim):
                continue
            self.killed[victim] += 1

    def _kill(self, name: str) -> bool:
        """Kill one of the engine's companions; False if it is not there just now."""
        try:
            os.kill(self._engine.find(name), signal.SIGKILL)
        except (LookupError, ProcessLookupError):
            return False
        return True

    # -- a container ----------------------------------------------------------------------------

    def _live(self, number: int) -> str:
        """What was wrong with this one; "" if nothing."""
        name, code = f"m{number}", number % 100
        command = ["sh", "-c", _SCRIPT, "sh", str(_LINES), str(code)]
        body = {"Image": "busybox", "Cmd": command, **lives.container(number % self._kinds)}
        # 409: the first try had been obeyed, nobody was there any more to say so.
        if problem := self._ask("POST", f"/containers/create?name={name}", body, ok=(201, 409)):
            return problem
        if problem := self._start(name):
            return problem
        status, answer = self._request("POST", f"/containers/{name}/wait")
        if status != 200 or json.loads(answer)["StatusCode"] != code:
            return f"wait: {status} {answer!r}, not {code}"
        _, answer = self._request("GET", f"/containers/{name}/json")
        state = json.loads(answer)["State"]
        if (state["Status"], state["ExitCode"]) != ("exited", code):
            return f"state: {state}"
        _, answer = self._request("GET", f"/containers/{name}/logs?stdout=1&stderr=1")
        if _text(answer) != [f"line {n}" for n in range(_LINES)]:
            return f"logs: {_text(answer)}"
        return self._ask("DELETE", f"/containers/{name}?force=1&v=1", ok=(204, 404))

    def _start(self, name: str) -> str:
        """Once only: a container that was started and has ended meanwhile would run again."""
        status, answer = 0, b""
        for _ in range(20):
            _, state = self._request("GET", f"/containers/{name}/json")
            if json.loads(state)["State"]["Status"] != "created":
                return ""
            status, answer = self._once("POST", f"/containers/{name}/start", None)
            if status == 204:
                return ""
            time.sleep(0.1)
        return f"start: {status} {answer!r}"

    def _ask(self, method: str, path: str, body: object = None, *, ok: tuple[int, int]) -> str:
        status, answer = self._request(method, path, body)
        return "" if status in ok else f"{method} {path}: {status} {answer!r}"

    def _request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Repeated while nobody answers, or only to say that the supervisor has just died."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            status, answer = self._once(method, path, body)
            if 0 < status < 500 or time.monotonic() > deadline:
                return status, answer
            time.sleep(0.02)

    def _once(self, method: str, path: str, body: object) -> tuple[int, bytes]:
        """Status 0 if there was no answer."""
        connection = http.client.HTTPConnection("engine")
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self._engine.socket))
            data = None if body is None else json.dumps(body)
            connection.request(method, _API + path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as e:
            return 0, str(e).encode()
        finally:
            connection.close()


def _text(stream: bytes) -> list[str]:
    text = b""
    while stream:
        size = int.from_bytes(stream[4:8], "big")
        text += stream[8 : 8 + size]
        stream = stream[8 + size :]
    return text.decode().splitlines()


def mayhem(
    engine: Engine,
    *,
    count: int,
    in_flight: int,
    seed: int,
    pause_s: float,
    victims: Sequence[str] = VICTIMS,
    kinds: int = lives.KINDS,
) -> dict[str, object]:
    """Run it. Returns what was done, what was "wrong" and what is "left"."""
    engine.request("POST", f"{_API}/networks/create", {"Name": lives.NETWORK})
    Mayhem(engine, (), seed, 3600, kinds).run(12, in_flight)  # what is made once is made now
    engine.kill()
    engine.start()
    Mayhem(engine, (), seed, 3600, kinds).run(12, in_flight)  # and what each engine makes once
    before = census.quiet(engine, _SETTLE_S)
    it = Mayhem(engine, victims, seed, pause_s, kinds)
    it.run(count, in_flight)
    return {
        "lives": count,
        "killed": dict(it.killed),
        "wrong": it.wrong,
        "left": census.settled(engine, before, _SETTLE_S),
    }


def main() -> int:
    """The command line; 1 if anything was wrong or left."""
    parser = argparse.ArgumentParser(prog="script/chaos", description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="containers' lives")
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--pause", type=float, default=0.7, help="seconds between kills, on average")
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS, help="whom to kill")
    parser.add_argument("--image", type=Path, required=True, help="a root file system with busybox, as a tar")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    engine = Engine()
    try:
        engine.start()
        engine.run("docker", "import", str(options.image), "busybox")
        result = mayhem(
            engine,
            count=options.count,
            in_flight=options.in_flight,
            seed=options.seed,
            pause_s=options.pause,
            victims=options.victims,
        )
    finally:
        engine.close()
    return census.verdict(result)


if __name__ == "__main__":
    sys.exit(main())
