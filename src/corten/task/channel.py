"""The status channel between a new process and whoever launched it.

A SOCK_SEQPACKET pair, close-on-exec on both sides: end of file without an error message means that
execve(2) has succeeded. Messages are small JSON objects, sent by the child unless noted:

    {"born": 1}                      I am there (of an init that the nursery makes: `corten.task.nursery`)
    {"cgroup": 1}                    move me to my cgroup: in a user namespace I may not    (answer: "go")
    {"console": 1} + fd              the pty master
    {"hooks": 1}                     run your hooks now                (parent answers "go")
    {"go": 1}                        become the program                (sent by the parent: TaskSetup.held)
    {"ready": 1}                     created; waiting at the gate to be started    (OCI create)
    {"errno": n, "stage": s, "message": text}    failed; the child exits
"""

from __future__ import annotations

import json
import socket

from corten.linux import seqpacket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MESSAGE_MAX = 96 << 10


def pair() -> tuple[socket.socket, socket.socket]:
    """(parent's end, child's end)."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


class SetupError(Exception):
    """A step of a process's set-up failed: `stage` says which, in words; `number` is the errno."""

    def __init__(self, number: int, stage: str, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.stage = stage
        self.message = message

    @classmethod
    def of(cls, error: OSError, stage: str) -> SetupError:
        """From the kernel's answer to what `stage` describes."""
        text = error.strerror or str(error)
        what = f" {error.filename}" if error.filename else ""
        return cls(error.errno or 5, stage, f"{stage}:{what} {text.lower()}")


def tell(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one message."""
    seqpacket.send(sock, json.dumps(message).encode(), fds)


def tell_error(sock: socket.socket, error: SetupError) -> None:
    """Send the failure; a parent that is gone does not mind."""
    try:
        tell(sock, {"errno": error.number, "stage": error.stage, "message": error.message})
    except OSError:
        pass


def wait_for_go(sock: socket.socket) -> bool:
    """The child's: False if nobody is there any more to say it."""
    return bool(sock.recv(64))


def is_abandoned(sock: socket.socket) -> bool:
    """The child's: whether nobody is there any more who could say it, nor has said it."""
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def check(sock: socket.socket) -> None:
    """Raise the SetupError that comes next, if one does. It stays in the channel for who has that, too."""
    try:
        data = sock.recv(_MESSAGE_MAX, socket.MSG_PEEK)
    except ConnectionResetError:
        data = sock.recv(_MESSAGE_MAX, socket.MSG_PEEK)
    if data:
        _decoded(data)


def hear(sock: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and its descriptors; (None, []) at end of file. Raises SetupError if told of one."""
    try:
        data, fds = seqpacket.receive(sock)
    except ConnectionResetError:  # it closed without having read its "go": what it has said comes next
        data, fds = seqpacket.receive(sock)
    if not data:
        return None, fds
    return _decoded(data), fds


def _decoded(data: bytes) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(data)
    if "errno" in message:
        raise SetupError(message["errno"], message["stage"], message["message"])
    return message
