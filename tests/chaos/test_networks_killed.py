"""kill -9 of the engine amid changes of networks: ledger, kernel and resolver agree afterwards."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable

from engine import Engine

KILLS = 6
_rng = random.Random(20)


def churn(engine: Engine, stop: threading.Event) -> None:
    """Networks come and go, and a container is connected and disconnected, until the engine is gone."""
    number = 0
    try:
        while not stop.is_set():
            number += 1
            engine.request("POST", "/networks/create", {"Name": f"churn{number % 5}"})
            body = {"Container": "web", "EndpointConfig": {"Aliases": ["al"]}}
            engine.request("POST", f"/networks/churn{number % 5}/connect", body)
            if number % 2:
                where = f"churn{(number - 1) % 5}"
                engine.request("POST", f"/networks/{where}/disconnect", {"Container": "web"})
                engine.request("DELETE", f"/networks/{where}")
    except OSError:
        return


def networks(engine: Engine) -> list[dict[str, str]]:
    status, answer = engine.request("GET", "/networks")
    assert status == 200, answer
    return [each for each in json.loads(answer) if each["Name"].startswith("churn")]


def test_killed_in_the_middle(engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    engine.run("docker", "run", "-d", "--name", "web", "busybox", "sleep", "300")
    for _ in range(KILLS):
        stop = threading.Event()
        worker = threading.Thread(target=churn, args=(engine, stop))
        worker.start()
        stop.wait(_rng.uniform(0.05, 0.4))
        engine.kill()
        stop.set()
        worker.join()
        engine.start()
        check(engine)
    engine.run("docker", "rm", "-f", "web")
    for each in networks(engine):
        assert engine.request("DELETE", f"/networks/{each['Name']}")[0] == 204
    assert "br-" not in engine.run("ip", "-br", "link").stdout
    assert "br-" not in engine.run("nft", "list", "ruleset").stdout


def check(engine: Engine) -> None:
    """Every network has its bridge and nobody else has one; the container is where it says it is."""
    bridges = {f"br-{each['Id'][:12]}" for each in networks(engine)}
    links = engine.run("ip", "-br", "link").stdout.split()
    assert {name for name in links if name.startswith("br-")} == bridges
    status, answer = engine.request("GET", "/containers/web/json")
    assert status == 200, answer
    places = json.loads(answer)["NetworkSettings"]["Networks"]
    addresses = engine.run("docker", "exec", "web", "ip", "-o", "-4", "addr").stdout
    wanted = {f"{each['IPAddress']}/{each['IPPrefixLen']}" for each in places.values()}
    assert {word for word in addresses.split() if "/" in word and word[:3] in ("172", "192")} == wanted
