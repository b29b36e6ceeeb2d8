"""System call numbers by name, for every architecture whose filters we write."""

from __future__ import annotations

import os

_PATH = os.path.join(os.path.dirname(__file__), "syscalls.tbl")
_tables: dict[str, dict[str, int]] = {}

# How i386 reaches these through one multiplexer; the first argument says which (linux/net.h, linux/ipc.h).
SOCKETCALL = {
    "socket": 1,
    "bind": 2,
    "connect": 3,
    "listen": 4,
    "accept": 5,
    "getsockname": 6,
    "getpeername": 7,
    "socketpair": 8,
    "send": 9,
    "recv": 10,
    "sendto": 11,
    "recvfrom": 12,
    "shutdown": 13,
    "setsockopt": 14,
    "getsockopt": 15,
    "sendmsg": 16,
    "recvmsg": 17,
    "accept4": 18,
    "recvmmsg": 19,
    "sendmmsg": 20,
}
IPC = {
    "semop": 1,
    "semget": 2,
    "semctl": 3,
    "semtimedop": 4,
    "msgsnd": 11,
    "msgrcv": 12,
    "msgget": 13,
    "msgctl": 14,
    "shmat": 21,
    "shmdt": 22,
    "shmget": 23,
    "shmctl": 24,
}


def numbers(column: str) -> dict[str, int]:
    """Name -> number on one architecture: x86_64, i386, x32 (without bit 30), arm64 or arm."""
    if not _tables:
        with open(_PATH, encoding="ascii") as file:
            next(file)  # the comment
            columns = next(file).split()[1:]
            rows = [line.split() for line in file]
        for position, name in enumerate(columns, 1):
            _tables[name] = {row[0]: int(row[position]) for row in rows if row[position] != "-"}
    return _tables[column]
