"""Containers that trace processes and keep their zombies: whoever waits for one of those waits as long as they like."""

import json
import time

_WAIT_S = 20


def until(holds):
    """Wait until holds() is true."""
    end = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_held(attack, pid):
    """Whether somebody traces the process."""
    status = attack.engine.run("cat", f"/proc/{pid}/status").stdout
    return "TracerPid:\t0\n" not in status


def goes_on(attack, image):
    """Whether other containers live as ever."""
    other = attack.create(image, "sh", "-c", "exit 3")
    assert attack.start(other)[0] == 204
    assert attack.wait(other) == 3
    attack.remove(other)
    return True


def is_gone(attack, container):
    """Whether nothing of the container is left, and no zombie."""
    attack.remove(container)
    assert attack.docker("ps", "-aq").stdout == ""
    until(lambda: "Z" not in attack.engine.run("ps", "-A", "-o", "stat=").stdout)
    return True


def test_an_exec_whose_zombie_is_kept_has_ended(attack, hold):
    image = attack.image(hold)
    container = attack.create(image, "hold")
    assert attack.start(container)[0] == 204
    body = {"Cmd": ["sleep", "1000"]}
    ran = json.loads(attack.engine.request("POST", f"/containers/{container}/exec", body)[1])["Id"]
    assert attack.engine.request("POST", f"/exec/{ran}/start", {"Detach": True})[0] == 200

    def inspected():
        return json.loads(attack.engine.request("GET", f"/exec/{ran}/json")[1])

    until(lambda: is_held(attack, inspected()["Pid"]))
    attack.engine.run("kill", "-9", str(inspected()["Pid"]))
    until(lambda: not inspected()["Running"])
    assert inspected()["ExitCode"] == 137
    assert goes_on(attack, image)
    assert is_gone(attack, container)


def test_a_process_that_is_kept_on_its_way_fails_as_ever(attack, hold):
    image = attack.image(hold)
    container = attack.create(image, "hold", host={"CapAdd": ["SYS_PTRACE"]})
    assert attack.start(container)[0] == 204
    for _ in range(20):
        assert "not there" in attack.exec(container, "not there")[1]
    assert "held corten" in attack.docker("logs", container).stdout
    assert goes_on(attack, image)
    assert is_gone(attack, container)


def test_an_init_whose_zombie_is_kept_has_ended(attack, hold):
    image = attack.image(hold)
    container = attack.create(image, "hold", "sleep", host={"PidMode": "host", "CapAdd": ["SYS_PTRACE"]})
    assert attack.start(container)[0] == 204
    victim = attack.create(image, "sleep", "1000")
    assert attack.start(victim)[0] == 204
    pid = attack.docker("inspect", "-f", "{{.State.Pid}}", victim).stdout.strip()
    until(lambda: is_held(attack, pid))
    attack.docker("kill", victim)
    assert attack.wait(victim) == 137
    assert attack.start(victim)[0] == 204
    attack.remove(victim)
    assert goes_on(attack, image)
    assert is_gone(attack, container)
