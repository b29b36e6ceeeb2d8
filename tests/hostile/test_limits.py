"""What containers may use up: processes, the engine's memory and descriptors, the runtime's own program."""

import hashlib
import json
import os
import re
import socket
import sys
import time
from pathlib import Path

_MUCH = 300 << 20
_LITTLE = 96 << 20


def _peak_bytes(engine):
    """The most memory that the engine has ever had."""
    text = Path(f"/proc/{engine.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) << 10


def _eventually(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_fork_bomb_stays_within_its_limit(attacker, plain):
    """The limit holds, and is not the container's to change."""
    script = """
        for i in $(seq 100); do sleep 30 & done 2>/dev/null
        ls -d /proc/[0-9]*/ | wc -l
        for file in $(find /sys/fs/cgroup -name pids.max); do echo max > $file; done 2>&1
        true
    """
    name = attacker.create(plain, "sh", "-c", script, host={"PidsLimit": 20})
    attacker.start(name)
    attacker.wait(name)
    limit = next((Path("/sys/fs/cgroup")).glob(f"**/{name}/pids.max"), None)
    assert limit is None or limit.read_text().strip() == "20"
    log = attacker.docker("logs", name, check=False)
    counts = [int(line) for line in log.stdout.split() if line.isdigit()]
    assert all(count <= 20 for count in counts), log
    assert attacker.engine.request("GET", "/_ping")[0] == 200


def test_endless_output_of_an_exec_and_a_probe_costs_no_memory(attacker, plain):
    """CVE-2022-31030 and its like: output is passed on or cut, never kept."""
    name = attacker.create(
        plain,
        *("sleep", "1000"),
        Healthcheck={"Test": ["CMD-SHELL", f"yes | head -c {_MUCH}"], "Interval": 100_000_000},
    )
    attacker.start(name)
    before = _peak_bytes(attacker.engine)
    attacker.engine.run("sh", "-c", f"docker exec {name} sh -c 'yes | head -c {_MUCH}' > /dev/null")

    def probes():
        document = json.loads(attacker.engine.request("GET", f"/containers/{name}/json")[1])
        return document["State"]["Health"]["Log"] or []

    _eventually(probes)
    assert len(probes()[0]["Output"]) < 8192
    assert _peak_bytes(attacker.engine) - before < _LITTLE


def test_clients_that_attach_and_go_leave_nothing(attacker, plain):
    """CVE-2025-64329: nothing of an attached client outlives it."""
    name = attacker.create(plain, "sleep", "1000")
    attacker.start(name)
    folder = f"/proc/{attacker.engine.pid}/fd"
    request = f"POST /containers/{name}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n"

    def attach():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(attacker.engine.socket))
            sock.sendall(f"{request}Connection: Upgrade\r\n\r\n".encode())
            assert sock.recv(12) == b"HTTP/1.1 101"

    attach()
    _eventually(lambda: len(os.listdir(folder)) > 0)
    before = len(os.listdir(folder))
    for _ in range(300):
        attach()
    _eventually(lambda: len(os.listdir(folder)) <= before + 3)


def test_the_engines_interpreter_cannot_be_written_while_processes_enter(attacker, plain):
    """CVE-2019-5736: whoever enters the container is looked at through /proc/PID/exe, again and again."""
    interpreter = Path(sys.executable).resolve()
    digest = hashlib.sha256(interpreter.read_bytes()).hexdigest()
    script = """
        while :; do
            for exe in /proc/[0-9]*/exe; do (echo evil >> $exe) 2>/dev/null && echo WRITTEN; done
        done
    """
    name = attacker.create(plain, "sh", "-c", script)
    attacker.start(name)
    for _ in range(40):
        assert attacker.exec(name, "true")[0] == 200
    assert "WRITTEN" not in attacker.docker("logs", name).stdout
    assert hashlib.sha256(interpreter.read_bytes()).hexdigest() == digest
