"""Containers over HTTP on a real engine."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager

import pytest
from calls import IMAGE, Api, load_image


def test_output_and_exit_code(api):
    assert api.output("sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_user_environment_and_directory(api):
    code, out, _ = api.output(
        *("sh", "-c", "id -u; id -g; pwd; hostname; echo $HOME $A"),
        User="web",
        WorkingDir="/srv/x",
        Hostname="h1",
        Env=["A=b"],
    )
    assert (code, out.split()) == (0, ["33", "33", "/srv/x", "h1", "/srv", "b"])


def test_without_a_network_each_has_a_loopback_of_its_own(api):
    """Whether its namespace came with it, as the first one's, or out of the pool."""
    script = "cat /sys/class/net/lo/flags; readlink /proc/self/ns/net; ls /sys/class/net"
    seen = [api.output("sh", "-c", script)[1].split() for _ in range(4)]
    assert all((flags, *links) == ("0x9", "lo") for flags, _, *links in seen)  # up, and loopback
    own = {os.readlink(f"/proc/{api.engine.pid}/ns/net")}
    assert len(own | {namespace for _, namespace, _ in seen}) > 1 and own.isdisjoint(each[1] for each in seen)


@pytest.mark.parametrize(
    ("command", "text", "code"),
    [("nosuch", "executable file not found in $PATH", 127), ("/data/file", "permission denied", 126)],
)
def test_what_cannot_be_executed(api, command, text, code):
    identifier = api.create(command)
    answer = api.call("POST", f"/containers/{identifier}/start", status=400)
    assert text in answer["message"]
    state = api.state(identifier)
    assert (state["Status"], state["ExitCode"]) == ("created", code)


def test_the_container_sees_only_itself(api):
    code, out, _ = api.output("ps")
    assert code == 0 and out.splitlines()[1].split()[:1] == ["1"] and len(out.splitlines()) == 2


def test_without_network(api):
    _, out, _ = api.output("ls", "/sys/class/net", NetworkDisabled=True)
    assert out.split() == ["lo"]


def test_memory_hog_is_killed_and_said_to_be(api):
    identifier = api.start("sh", "-c", "exec tail /dev/zero", host={"Memory": 16 << 20})
    assert api.wait(identifier) == 137
    assert api.state(identifier)["OOMKilled"]


def test_stop_and_kill(api):
    identifier = api.start("sleep", "100", StopSignal="SIGKILL")
    api.call("POST", f"/containers/{identifier}/stop")
    assert api.wait(identifier) == 137
    api.call("POST", f"/containers/{identifier}/stop", status=304)
    answer = api.call("POST", f"/containers/{identifier}/kill", status=409)
    assert answer["message"].endswith("is not running")


@contextmanager
def starting(api, identifier):
    """While a start of it is under way, and waits; what was asked meanwhile has arrived when that goes on."""
    api.call("POST", f"/containers/{identifier}/start")
    api.call("POST", f"/containers/{identifier}/kill")
    janitor = api.engine.find("corten-janitor")
    os.kill(janitor, signal.SIGSTOP)  # a further start waits until it has cleaned up after the one before
    try:
        with closing(api.engine.ask("POST", f"/containers/{identifier}/start")) as start:
            while not api.state(identifier)["Running"]:
                time.sleep(0.01)
            yield start
            api.call("GET", "/_ping")
    finally:
        os.kill(janitor, signal.SIGCONT)


@pytest.mark.parametrize(
    ("method", "action", "code"),
    [("POST", "/kill", 137), ("POST", "/stop?t=1", 137), ("DELETE", "?force=1", None)],
)
def test_what_is_asked_to_end_while_it_starts_ends(api, method, action, code):
    identifier = api.create("sleep", "1000")
    with starting(api, identifier):
        ending = api.engine.ask(method, f"/containers/{identifier}{action}")
    with closing(ending):
        assert ending.getresponse().status == 204
    if code is None:
        api.call("GET", f"/containers/{identifier}/json", status=404)
        return
    deadline = time.monotonic() + 20
    while (state := api.state(identifier))["Running"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (state["Status"], state["ExitCode"]) == ("exited", code)


def test_an_exec_while_it_starts_waits_for_that(api):
    identifier = api.create("sleep", "1000")

    def execute():
        made = api.call("POST", f"/containers/{identifier}/exec", {"Cmd": ["id"]})["Id"]
        api.call("POST", f"/exec/{made}/start", {"Detach": True})

    with ThreadPoolExecutor() as pool:
        with starting(api, identifier):
            executing = pool.submit(execute)
            wait([executing], timeout=0.2)
        executing.result()


def test_a_start_is_finished_though_its_client_has_gone(api):
    identifier = api.create("sleep", "1000")
    with starting(api, identifier) as start:
        start.close()
    deadline = time.monotonic() + 20
    while not (state := api.state(identifier))["Pid"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert state["Running"] and state["Pid"]


def test_a_stop_is_finished_though_its_client_has_gone(api):
    identifier = api.start("sleep", "1000")  # as the first process it does not hear SIGTERM
    api.engine.ask("POST", f"/containers/{identifier}/stop?t=1").close()
    deadline = time.monotonic() + 20
    while (state := api.state(identifier))["Running"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)


def test_a_bad_signal_is_told_with_what_it_was_for(api):
    identifier = api.start("sleep", "1000")
    for action, prefix in (("stop", "cannot stop container:"), ("restart", "Cannot restart container")):
        answer = api.call("POST", f"/containers/{identifier}/{action}?signal=NOPE", status=400)
        assert answer["message"] == f"{prefix} {identifier}: invalid signal: NOPE"
    api.call("POST", f"/containers/{identifier}/stop?t=0")
    api.call("POST", f"/containers/{identifier}/stop?signal=NOPE", status=304)


def test_names_conflict(api):
    identifier = api.create("true", name="taken")
    answer = api.call("POST", "/containers/create?name=taken", {"Image": IMAGE, "Cmd": ["x"]}, status=409)
    assert identifier in answer["message"]


def test_auto_remove_and_wait_for_it(api):
    identifier = api.create("sh", "-c", "exit 5", host={"AutoRemove": True}, Volumes={"/v": {}})
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(api.call, "POST", f"/containers/{identifier}/wait?condition=removed")
        time.sleep(0.05)
        api.call("POST", f"/containers/{identifier}/start")
        assert waiting.result()["StatusCode"] == 5
    api.call("GET", f"/containers/{identifier}/json", status=404)
    assert not list((api.engine.root / "containers").glob(f"{identifier}*"))
    assert not [name for name in os.listdir(api.engine.root / "volumes") if len(name) == 64]


def test_volumes_keep_data_and_are_filled_from_the_image(api):
    host = {"Binds": ["kept:/data"]}
    assert api.output("sh", "-c", "cat /data/file; echo new > /data/more", host=host)[1] == "image"
    assert api.output("cat", "/data/more", host=host)[1] == "new\n"
    api.call("DELETE", "/volumes/kept", status=204)


def test_binds_tmpfs_and_read_only_root(api, tmp_path):
    host = {
        "Binds": [f"{tmp_path}/made:/b", f"{tmp_path}/made:/ro:ro"],
        "Tmpfs": {"/t": "size=64k"},
        "ReadonlyRootfs": True,
    }
    code, out, err = api.output(
        "sh", "-c", "touch /b/x /t/x; touch /ro/y || touch /z || echo refused", host=host
    )
    assert (code, out) == (0, "refused\n") and err.count("Read-only file system") == 2
    assert (tmp_path / "made/x").exists()


def test_logs_tail_since_and_follow(api):
    identifier = api.start("sh", "-c", "for i in 1 2 3; do echo $i; done; sleep 0.3; echo 4")
    assert api.logs(identifier, "stdout=1&follow=1")[0] == "1\n2\n3\n4\n"
    assert api.logs(identifier, "stdout=1&tail=2")[0] == "3\n4\n"
    assert api.logs(identifier, "stderr=1") == ("", "")
    assert api.logs(identifier, f"stdout=1&since={int(time.time()) + 100}")[0] == ""


def test_exec(api):
    identifier = api.start("sleep", "100")
    made = api.call(
        "POST", f"/containers/{identifier}/exec", {"Cmd": ["sh", "-c", "exit 6"], "AttachStdout": True}
    )["Id"]
    api.call("POST", f"/exec/{made}/start", {"Detach": True})
    deadline = time.monotonic() + 10
    while (ended := api.call("GET", f"/exec/{made}/json"))["Running"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (ended["ExitCode"], ended["CanRemove"]) == (6, False)
    assert ended["Pid"] > 0  # what it was


def test_an_exec_in_a_directory_that_is_not_there(api):
    identifier = api.start("sleep", "100")
    body = {"Cmd": ["true"], "WorkingDir": '/no"where'}
    made = api.call("POST", f"/containers/{identifier}/exec", body)["Id"]
    answer = api.call("POST", f"/exec/{made}/start", {"Detach": True}, status=500)
    why = 'chdir to cwd ("/no\\"where") set in config.json failed: no such file or directory'
    assert why in answer["message"]


def test_joining_another_container(api):
    donor = api.start("sleep", "100", Hostname="donor", host={"IpcMode": "shareable"})
    mode = f"container:{donor}"
    host = {"NetworkMode": mode, "PidMode": mode, "IpcMode": mode}
    _, out, _ = api.output("sh", "-c", "hostname; ps; touch /dev/shm/seen", host=host)
    assert out.splitlines()[0] == "donor" and "sleep 100" in out
    answer = api.create("true", host={"NetworkMode": mode})
    api.remove(donor)
    refused = api.call("POST", f"/containers/{answer}/start", status=404)
    assert "No such container" in refused["message"]


def test_restart_policy(api):
    identifier = api.start(
        "sh", "-c", "exit 1", host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    )
    while api.state(identifier)["Status"] != "exited":
        assert api.wait(identifier) == 1  # told of every end, as by dockerd
    assert api.call("GET", f"/containers/{identifier}/json")["RestartCount"] == 2


def test_engine_killed_while_containers_run(new_engine):
    api = Api(new_engine())
    load_image(api.engine)
    loop = "trap 'exit 9' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done"
    long, short = api.start("sh", "-c", loop), api.start("sh", "-c", "sleep 0.3; exit 4", name="short")
    auto = api.start("sleep", "0.3", host={"AutoRemove": True})
    api.engine.kill()
    time.sleep(0.6)
    api.engine.start()
    assert api.state(short)["ExitCode"] == 4
    assert api.state(long)["Running"]
    api.call("POST", f"/containers/{long}/kill?signal=TERM", status=204)
    assert api.wait(long) == 9
    lines = api.logs(long)[0].splitlines()
    assert lines and lines == [str(n) for n in range(len(lines))]
    api.call("GET", f"/containers/{auto}/json", status=404)
    assert api.output("echo", "again")[1] == "again\n"


def test_orderly_stop_with_live_restore_off_stops_containers(new_engine):
    engine = new_engine({"live-restore": False, "shutdown-timeout": 1})
    api = Api(engine)
    load_image(engine)
    identifier = api.start("sleep", "1000", host={"RestartPolicy": {"Name": "no"}})
    assert engine.stop() == 0
    engine.start()
    state = api.state(identifier)
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)


@pytest.mark.parametrize("driver", ["none", "json-file"])
def test_whoever_attaches_sees_all_output_with_and_without_a_log(api, driver):
    seen = "".join(f"{number}\n" for number in range(1, 120_001))
    command = ["docker", "run", "--rm", "--network=none", f"--log-driver={driver}"]
    done = api.engine.run(*command, IMAGE, "sh", "-c", "seq 120000; echo err >&2; printf end")
    assert (done.stdout, done.stderr) == (f"{seen}end", "err\n")
    done = api.engine.run(*command, "-t", IMAGE, "sh", "-c", "seq 120000; printf end")
    assert done.stdout == f"{seen}end"  # text mode makes one newline of a terminal's two bytes


def test_a_container_without_a_log_ends_though_nobody_reads_it(api):
    identifier = api.start("sh", "-c", "seq 100000", host={"LogConfig": {"Type": "none"}})
    assert api.wait(identifier) == 0
