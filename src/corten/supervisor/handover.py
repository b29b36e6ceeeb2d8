"""What a supervisor hands to its new image: a document in a memfd, and descriptors left open over execve.

The process stays what it is, the containers' parent; what its memory held is in the document. Requests and
events that are on their way stay in their sockets. Nothing is half done: `upgrade` waits for that.
"""

from __future__ import annotations

import json
import os
import socket

from corten.supervisor.execs import Exec
from corten.supervisor.journal import ExitRecord
from corten.supervisor.process import code_version
from corten.supervisor.task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.companions import Companion
    from corten.supervisor.peers import Peer
    from corten.supervisor.supervisor import Supervisor

_FORMAT = 1
_TASK_FDS = (
    "pidfd", "stdin_fd", "stdout_fd", "stderr_fd", "master_fd", "feed_fd", "mnt_fd", "oom_fd",
)  # fmt: skip


class HeldPeer:
    """A connection, and what could not be sent to it yet."""

    __slots__ = ("fd", "unsent")

    def __init__(self, document: dict[str, Any]) -> None:
        self.fd: int = document["fd"]
        self.unsent = [(text.encode(), list(fds)) for text, fds in document["unsent"]]


class HeldCompanion(HeldPeer):
    """One of our companions. children: pids of such processes that we have started."""

    __slots__ = ("children",)

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document)
        self.children: list[int] = document["children"]


class Inheritance:
    """What the image before us had. asked: the peer and the number of the request that made it end."""

    __slots__ = (
        "asked", "cleaned", "companions", "ended_execs", "execs", "listener_fd", "nofile", "peers",
        "staging_fd", "tasks", "to_drop", "unreaped",
    )  # fmt: skip

    def __init__(self, document: dict[str, Any]) -> None:
        """Raises ValueError, KeyError or TypeError if we don't understand it."""
        if document["format"] != _FORMAT:
            raise ValueError(f"handover in format {document['format']}, not {_FORMAT}")
        soft, hard = document["nofile"]
        self.nofile: tuple[int, int] = (soft, hard)
        self.staging_fd: int = document["staging"]
        self.listener_fd: int = document["listener"]
        self.peers = [HeldPeer(each) for each in document["peers"]]
        self.asked: tuple[int, int] | None = document["asked"] and tuple(document["asked"])
        self.companions = {role: HeldCompanion(each) for role, each in document["companions"].items()}
        self.tasks = [_task(each) for each in document["tasks"]]
        self.execs = [_exec(each) for each in document["execs"]]
        self.ended_execs = [_exec(each) for each in document["ended_execs"]]
        self.cleaned: list[str] = document["cleaned"]
        self.to_drop: list[str] = document["to_drop"]
        self.unreaped: list[int] = document.get("unreaped", [])


def pack(supervisor: Supervisor, asked: tuple[Peer, int] | None = None) -> dict[str, Any]:
    """The document of all that a supervisor has."""
    peers = supervisor.listener.peers
    return {
        "format": _FORMAT,
        "nofile": supervisor.nofile,
        "staging": supervisor.staging,
        "listener": supervisor.listener.sock.fileno(),
        "peers": [_peer_document(peer) for peer in peers],
        "asked": (peers.index(asked[0]), asked[1]) if asked and asked[0] in peers else None,
        "companions": {role: _companion_document(each) for role, each in supervisor.companions.items()},
        "tasks": [_task_document(task) for task in supervisor.tasks.values()],
        "execs": [_exec_document(each) for each in supervisor.execs.values()],
        "ended_execs": [_exec_document(each) for each in supervisor.ended_execs.values()],
        "cleaned": list(supervisor.cleaned),
        "to_drop": supervisor.to_drop,
        "unreaped": list(supervisor.reaper.kept),
    }


def go_on(supervisor: Supervisor, inherited: Inheritance) -> None:
    """Have a new image do what the one before it did for tasks, execs and engines; tell who asked for it."""
    for task in inherited.tasks:
        supervisor.tasks[task.id] = task
        if task.exit is None:
            supervisor.watch(task)
            if task.oom_fd >= 0:
                supervisor.tell_of_oom(task)
        elif not task.drained:
            supervisor.let_go_when_drained(task)
    for process in inherited.execs:
        supervisor.execs[process.id] = process
        supervisor.watch_exec(process)
    supervisor.ended_execs = {process.id: process for process in inherited.ended_execs}
    supervisor.cleaned = dict.fromkeys(inherited.cleaned)
    supervisor.reaper.keep(inherited.unreaped)
    for task_id in inherited.to_drop:
        supervisor.drop_output(task_id)
    peers = []
    for held in inherited.peers:
        peers.append(supervisor.listener.take_peer(socket.socket(fileno=held.fd)))
        peers[-1].take_unsent(held.unsent)
    if inherited.asked is not None:
        number, request = inherited.asked
        peers[number].send({"n": request, "version": code_version()})


def descriptors(document: dict[str, Any]) -> list[int]:
    """All that a document speaks of."""
    found = [document["staging"], document["listener"]]
    for peer in (*document["peers"], *document["companions"].values()):
        found.append(peer["fd"])
        for _, fds in peer["unsent"]:
            found += fds
    for task in document["tasks"]:
        found += [fd for fd in task["fds"].values() if fd >= 0]
    for each in document["execs"]:
        found += [fd for fd in (each["pidfd"], each["master_fd"]) if fd >= 0]
    return found


def write(document: dict[str, Any]) -> int:
    """A memfd with the document in it, to be read from its beginning. Raises OSError."""
    fd = os.memfd_create("corten-handover", os.MFD_CLOEXEC)
    try:
        with open(fd, "w", closefd=False) as f:
            json.dump(document, f)
    except BaseException:
        os.close(fd)
        raise
    return fd


def check(fd: int) -> None:
    """Whether this code understands what a running supervisor would hand to it: what `write` has written.

    Raises ValueError, KeyError or TypeError if it does not.
    """
    Inheritance(_read(fd))


def take(fd: int) -> Inheritance:
    """What the image before us has written. Whom we start shall not get the descriptors we were given."""
    document = _read(fd)
    for each in descriptors(document):
        os.set_inheritable(each, False)
    return Inheritance(document)


def _read(fd: int) -> dict[str, Any]:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd) as f:
        document: dict[str, Any] = json.load(f)
    return document


def _peer_document(peer: Peer) -> dict[str, Any]:
    unsent = [(data.decode(), fds) for data, fds in peer.unsent()]
    return {"fd": peer.sock.fileno(), "unsent": unsent}


def _companion_document(companion: Companion) -> dict[str, Any]:
    return {**_peer_document(companion.peer), "children": list(companion.children)}


def _task_document(task: Task) -> dict[str, Any]:
    ended = task.exit
    return {
        **task.document(),
        "fds": {name: getattr(task, name) for name in _TASK_FDS},
        "drained": task.drained,
        "sealed": task.sealed,
        "exit": None if ended is None else (ended.code, ended.oom, ended.at_ns),
    }


def _task(document: dict[str, Any]) -> Task:
    task = Task.of(document)
    for name in _TASK_FDS:
        setattr(task, name, document["fds"][name])
    task.drained = document["drained"]
    task.sealed = document.get("sealed", False)  # an older supervisor did not care
    task.exit = None if document["exit"] is None else ExitRecord(*document["exit"])
    return task


def _exec_document(process: Exec) -> dict[str, Any]:
    ended = process.code is not None
    return {
        "exec_id": process.id,
        "id": process.task_id,
        "about": process.about,
        "pid": process.pid,
        "pidfd": -1 if ended else process.pidfd,
        "master_fd": -1 if ended else process.master_fd,
        "code": process.code,
        "ended_s": process.ended_s,
    }


def _exec(document: dict[str, Any]) -> Exec:
    process = Exec(document, document["pid"], document["pidfd"])
    process.master_fd, process.code = document["master_fd"], document["code"]
    process.ended_s = document["ended_s"]
    return process
