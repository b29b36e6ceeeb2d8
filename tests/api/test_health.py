"""Health checks on a real engine: commands inside, and probes that the engine makes itself."""

import json
import time

import pytest
from calls import Api, load_image

MS = 1_000_000
SERVER = "mkdir /www; echo fine >/www/index.html; exec busybox httpd -f -p 8080 -h /www"


def until(api, identifier, status):
    deadline = time.monotonic() + 20
    while (health := api.state(identifier).get("Health") or {}).get("Status") != status:
        assert time.monotonic() < deadline, health
        time.sleep(0.02)
    return health


def check(*test, **more):
    return {"Test": list(test), "Interval": 50 * MS, "Retries": 2, **more}


def test_a_command_decides(api):
    identifier = api.start("sleep", "100", Healthcheck=check("CMD-SHELL", "cat /healthy"))
    health = until(api, identifier, "unhealthy")
    assert health["FailingStreak"] >= 2
    assert "can't open '/healthy'" in health["Log"][-1]["Output"]
    listed = api.call("GET", '/containers/json?filters={"health":["unhealthy"]}')
    assert [each["Id"] for each in listed] == [identifier]
    assert listed[0]["Status"].endswith("(unhealthy)")
    made = api.call("POST", f"/containers/{identifier}/exec", {"Cmd": ["touch", "/healthy"]})["Id"]
    api.call("POST", f"/exec/{made}/start", {"Detach": True})
    assert until(api, identifier, "healthy")["FailingStreak"] == 0


def test_a_command_that_hangs_is_killed(api):
    test = check("CMD-SHELL", "sleep 1000", Timeout=100 * MS)
    identifier = api.start("sleep", "100", Healthcheck=test)
    health = until(api, identifier, "unhealthy")
    assert health["Log"][0]["ExitCode"] == -1
    assert health["Log"][0]["Output"] == "Health check exceeded timeout (100ms)"
    api.call("POST", f"/containers/{identifier}/pause")
    running = [row[-1] for row in api.call("GET", f"/containers/{identifier}/top")["Processes"]]
    assert running.count("sleep 1000") <= 1


@pytest.mark.parametrize("network", ["none", "bridge"])
@pytest.mark.parametrize("test", ["http://:8080/", "tcp://:8080"])
def test_the_engine_probes_without_a_shell(api, network, test):
    host = {"NetworkMode": network}
    identifier = api.start("sh", "-c", SERVER, Healthcheck=check("CMD-SHELL", test), host=host)
    health = until(api, identifier, "healthy")
    if test.startswith("http"):
        assert health["Log"][-1]["Output"] == "HTTP/1.1 200 OK\nfine\n"


def test_a_probe_of_the_engine_fails(api):
    missing = api.start("sh", "-c", SERVER, Healthcheck=check("CMD-SHELL", "http://:8080/missing"))
    closed = api.start("sleep", "100", Healthcheck=check("CMD", "tcp://:8080"))
    assert until(api, missing, "unhealthy")["Log"][-1]["Output"].startswith("HTTP/1.1 404 Not Found\n")
    refused = until(api, closed, "unhealthy")["Log"][-1]
    assert (refused["ExitCode"], refused["Output"]) == (
        1,
        "dial tcp 127.0.0.1:8080: connect: connection refused",
    )


def test_an_unhealthy_container_is_restarted(api):
    script = "rm /healthy || touch /healthy; sleep 100"  # healthy in every second run
    identifier = api.start(
        "sh",
        "-c",
        script,
        Healthcheck=check("CMD-SHELL", "cat /healthy"),
        Labels={"corten.health.on-failure": "kill"},
        host={"RestartPolicy": {"Name": "always"}},
    )
    until(api, identifier, "healthy")


def test_checks_go_on_after_the_engine_was_killed(new_engine):
    api = Api(new_engine())
    load_image(api.engine)
    identifier = api.start("sleep", "100", Healthcheck=check("CMD-SHELL", "cat /healthy"))
    until(api, identifier, "unhealthy")
    api.engine.kill()
    api.engine.start()
    assert api.state(identifier)["Health"]["Status"] == "unhealthy"
    made = api.call("POST", f"/containers/{identifier}/exec", {"Cmd": ["touch", "/healthy"]})["Id"]
    api.call("POST", f"/exec/{made}/start", {"Detach": True})
    until(api, identifier, "healthy")


def test_docker_waits_for_and_shows_health(api):
    api.engine.run(
        *("docker", "run", "-d", "--name", "hc", "--network", "none", "--health-interval", "50ms"),
        *("--health-cmd", "true", "engine-test", "sleep", "100"),
    )
    until(api, "hc", "healthy")
    shown = api.engine.run("docker", "inspect", "-f", "{{json .State.Health}}", "hc").stdout
    assert json.loads(shown)["Status"] == "healthy"
    assert "(healthy)" in api.engine.run("docker", "ps", "--filter", "name=hc").stdout
