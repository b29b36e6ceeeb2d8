"""pause, top, stats and update over HTTP on a real engine."""

import http.client
import json
import socket
import sys
from pathlib import Path

import pytest

CORTEN = str(Path(sys.executable).with_name("corten"))
COUNTER = "i=0; while :; do i=$((i+1)); echo $i >/n; done"


def cpu_of(api, identifier):
    sample = api.call("GET", f"/containers/{identifier}/stats?stream=0&one-shot=1")
    return sample["cpu_stats"]["cpu_usage"]["total_usage"]


def test_a_paused_container_uses_no_processor(api):
    identifier = api.start("sh", "-c", COUNTER)
    api.call("POST", f"/containers/{identifier}/pause", status=204)
    state = api.state(identifier)
    assert (state["Status"], state["Running"], state["Paused"]) == ("paused", True, True)
    listed = api.call("GET", '/containers/json?filters={"status":["paused"]}')
    assert [each["Id"] for each in listed] == [identifier]
    assert listed[0]["Status"].endswith("(Paused)")
    before = cpu_of(api, identifier)
    assert cpu_of(api, identifier) == before
    answer = api.call("POST", f"/containers/{identifier}/pause", status=409)
    assert answer["message"] == f"Container {identifier} is already paused"
    api.call("POST", f"/containers/{identifier}/unpause", status=204)
    while cpu_of(api, identifier) == before:
        pass
    answer = api.call("POST", f"/containers/{identifier}/unpause", status=500)
    assert answer["message"] == f"Container {identifier} is not paused"


def test_a_paused_container_can_be_stopped_and_killed(api):
    for action in ("stop", "kill"):
        identifier = api.start("sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
        while api.logs(identifier)[0] != "ready\n":
            pass
        api.call("POST", f"/containers/{identifier}/pause")
        api.call("POST", f"/containers/{identifier}/{action}")
        assert api.wait(identifier) == (9 if action == "stop" else 137)


def test_top_lists_all_processes(api):
    identifier = api.start("sh", "-c", "sleep 111 & sleep 222; :")
    pid = api.state(identifier)["Pid"]
    top = api.call("GET", f"/containers/{identifier}/top")
    assert top["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    while not {"sleep 111", "sleep 222"} < {row[-1] for row in top["Processes"]}:
        top = api.call("GET", f"/containers/{identifier}/top")
    assert all(row[0] == "root" for row in top["Processes"])
    assert pid > 0
    columns = api.call("GET", f"/containers/{identifier}/top?ps_args=-o%20pid,args")
    assert columns["Titles"] == ["PID", "COMMAND"]
    assert {row[1] for row in columns["Processes"]} >= {"sleep 111", "sleep 222"}
    api.call("POST", f"/containers/{identifier}/kill")
    answer = api.call("GET", f"/containers/{identifier}/top", status=409)
    assert answer["message"] == f"container {identifier} is not running"


def test_one_shot_stats(api):
    identifier = api.start("sleep", "100", host={"Memory": 64 << 20, "PidsLimit": 50})
    sample = api.call("GET", f"/containers/{identifier}/stats?stream=false&one-shot=true")
    assert sample["id"] == identifier
    assert sample["memory_stats"]["limit"] == 64 << 20
    assert 0 < sample["memory_stats"]["usage"] < 64 << 20
    assert sample["pids_stats"] == {"current": 1, "limit": 50}
    assert sample["cpu_stats"]["system_cpu_usage"] > sample["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert sample["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert sample["preread"].startswith("0001") and not sample["read"].startswith("0001")
    assert "networks" not in sample
    answer = api.call("GET", f"/containers/{identifier}/stats?one-shot=1", status=400)
    assert answer["message"] == "cannot have stream=true and one-shot=true"


def test_a_stream_of_stats(api):
    identifier = api.start("sleep", "100", host={"NetworkMode": "bridge"})
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(api.engine.socket))
    connection.request("GET", f"/v1.51/containers/{identifier}/stats")
    response = connection.getresponse()
    first, second = (json.loads(response.readline()) for _ in range(2))
    connection.close()
    assert second["preread"] == first["read"]
    assert second["precpu_stats"] == first["cpu_stats"]
    assert set(second["networks"]) == {"eth0"}
    assert second["networks"]["eth0"]["tx_bytes"] >= 0


def test_stats_of_a_container_that_does_not_run(api):
    identifier = api.create("sleep", "1", name="idle")
    sample = api.call("GET", f"/containers/{identifier}/stats?stream=0")
    assert (sample["name"], sample["memory_stats"], sample["pids_stats"]) == ("/idle", {}, {})
    assert sample["read"].startswith("0001")
    api.call("GET", "/containers/nosuch/stats", status=404)


@pytest.mark.skipif(not Path("/sys/fs/cgroup/memory").is_dir(), reason="reads files of cgroup v1")
def test_update_changes_the_limits_of_a_running_container(api):
    identifier = api.start("sleep", "100", host={"Memory": 64 << 20})
    answer = api.call(
        "POST",
        f"/containers/{identifier}/update",
        {"Memory": 32 << 20, "MemorySwap": 64 << 20, "NanoCpus": 500_000_000, "PidsLimit": 20},
    )
    assert answer == {"Warnings": None}
    group = f"{api.engine.cgroup}/{identifier}"
    found = [
        Path(f"/sys/fs/cgroup/{file}").read_text().strip()
        for file in (
            f"memory/{group}/memory.limit_in_bytes",
            f"memory/{group}/memory.memsw.limit_in_bytes",
            f"cpu/{group}/cpu.cfs_quota_us",
            f"pids/{group}/pids.max",
        )
    ]
    assert found == [str(32 << 20), str(64 << 20), "50000", "20"]
    host = api.call("GET", f"/containers/{identifier}/json")["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (32 << 20, 500_000_000, 20)
    api.call("POST", f"/containers/{identifier}/update", {"PidsLimit": -1})
    assert Path(f"/sys/fs/cgroup/pids/{group}/pids.max").read_text() == "max\n"


def test_stop_says_that_the_signal_could_not_be_heard(api):
    deaf = api.start("sleep", "100", name="deaf")
    done = api.engine.run(CORTEN, "stop", "-t", "0", "deaf")
    assert done.stdout == "deaf\n"
    assert done.stderr == (
        "WARNING: container deaf was killed after 0 s: its process did not react to SIGTERM, because it has no "
        "handler for the signal and is the first process of its pid namespace (--init or --stop-signal may "
        "help)\n"
    )
    assert api.wait(deaf) == 137
    script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    hears = api.start("sh", "-c", script, name="hears")
    while api.logs(hears)[0] != "ready\n":
        pass
    assert api.engine.run(CORTEN, "stop", "hears").stderr == ""


def test_a_link_is_removed_by_its_path(api):
    api.start("sleep", "100", name="target", host={"NetworkMode": "bridge"})
    api.create("sleep", "100", name="user", host={"NetworkMode": "bridge", "Links": ["target:alias"]})
    shown = api.call("GET", "/containers/user/json")["HostConfig"]["Links"]
    assert shown == ["/target:/user/alias"]
    api.engine.run("docker", "rm", "--link", "user/alias")
    assert api.call("GET", "/containers/user/json")["HostConfig"]["Links"] is None
