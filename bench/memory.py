"""What a further sleeping container costs in the engine's own processes: PSS (proc(5))."""

import json
import os
import time
from pathlib import Path

from http_client import Client

COUNT = 200
_SETTLE_S = 3


def own_processes(pid_namespace_of: int) -> list[int]:
    """Pids of everything in an engine's pid namespace; its containers have pid namespaces of their own."""
    wanted = os.readlink(f"/proc/{pid_namespace_of}/ns/pid")
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "ns/pid") == wanted:
                    found.append(int(entry.name))
            except OSError:
                continue  # gone meanwhile, or a zombie
    return found


def pss_bytes(pids: list[int]) -> int:
    """Proportional set size of these processes together. Source: proc(5), smaps_rollup."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def per_container_bytes(socket_path: str, init_pid: int, network: str = "none") -> float:
    """Start 200 sleepers with logging on; growth of PSS for each. Removes them again."""
    client = Client(socket_path)
    config = {"Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": network}}

    def start() -> str:
        identity = json.loads(client.request("POST", "/v1.45/containers/create", config))["Id"]
        client.request("POST", f"/v1.45/containers/{identity}/start")
        return str(identity)

    started = [start() for _ in range(5)]  # what only the first ones cost is not "further"
    time.sleep(_SETTLE_S)
    before = pss_bytes(own_processes(init_pid))
    started += [start() for _ in range(COUNT)]
    time.sleep(_SETTLE_S)
    after = pss_bytes(own_processes(init_pid))
    for identity in started:
        client.request("DELETE", f"/v1.45/containers/{identity}?force=1")
    client.close()
    return (after - before) / COUNT
