"""Counters of network interfaces: /proc/PID/net/dev (proc_pid_net(5))."""

from __future__ import annotations

# Columns of the file: bytes packets errs drop fifo frame compressed multicast, first received, then sent.
_COLUMNS = {
    "rx_bytes": 0,
    "rx_packets": 1,
    "rx_errors": 2,
    "rx_dropped": 3,
    "tx_bytes": 8,
    "tx_packets": 9,
    "tx_errors": 10,
    "tx_dropped": 11,
}


def read(pid: int) -> dict[str, dict[str, int]]:
    """Counters by interface of the process's network namespace, loopback left out. Raises OSError."""
    found = {}
    with open(f"/proc/{pid}/net/dev", errors="replace") as file:  # names are the container's choice
        for line in file.readlines()[2:]:
            name, _, rest = line.partition(":")
            values = rest.split()
            if name.strip() != "lo":
                found[name.strip()] = {key: int(values[column]) for key, column in _COLUMNS.items()}
    return found
