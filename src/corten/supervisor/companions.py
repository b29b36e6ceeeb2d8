"""The processes that the supervisor starts and keeps alive: log writer, janitor, netd, relay.

They outlive supervisors, and code: whom a supervisor finds with another code than its own is asked to end
(`shutdown` with an "heir") as soon as it may, and another one is started. What the leaving one has to hand on
(sockets that must not be closed for a moment) it sends as messages {"inherit": ...} with descriptors before
it hangs up; they are the first that its successor is sent, as the operation `inherit`.
"""

from __future__ import annotations

import os
import socket
import sys

from corten.linux import seqpacket
from corten.linux.seqpacket import MAX_FDS
from corten.supervisor.peers import Peer
from corten.supervisor.process import code_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from corten.supervisor.handover import HeldCompanion
    from corten.supervisor.loop import Loop

_ASK_VERSION = 0  # the number of that request; others count from 1


class Companion:
    """One such process, reached through its socket.

    A living one (of an earlier supervisor) is used as it is. Otherwise its listening socket is made
    here and handed to a new process as fd 3, so that whoever connects need not wait for its start.
    """

    __slots__ = (
        "_bequest", "_exec_root", "_loop", "_may_end", "_on_message", "_on_restart", "_outdated", "_path",
        "_role", "children", "peer",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        role: str,
        exec_root: str,
        path: str,
        on_message: Callable[[Peer, dict[str, Any], list[int]], None],
        on_restart: Callable[[], None],
        held: HeldCompanion | None = None,
        may_end: Callable[[], bool] = lambda: True,
    ) -> None:
        """held: what this process had of it before it became a new image. may_end: whether one of other code
        can be replaced now; if not, `replace_outdated` is called when that may have changed."""
        self._loop, self._role, self._exec_root, self._path = loop, role, exec_root, path
        self._on_message, self._on_restart = on_message, on_restart
        self._may_end, self._outdated = may_end, False
        self._bequest: list[tuple[dict[str, Any], list[int]]] = []
        self.children: set[int] = set()  # pids: those that we have to wait for
        if held is None:
            self.peer = self._connect()
        else:
            self.peer = self._reach(socket.socket(fileno=held.fd))
            self.peer.take_unsent(held.unsent)
            for pid in held.children:
                self._wait_for(pid)

    @property
    def bequeathing(self) -> bool:
        """Whether we hold for its successor what it has left so far."""
        return bool(self._bequest)

    def _connect(self) -> Peer:
        try:
            sock = seqpacket.connect(self._path)
        except OSError:
            return Peer(self._loop, self._spawn(), self._heard, self._gone)
        return self._reach(sock)

    def _reach(self, sock: socket.socket) -> Peer:
        """Somebody who lives already, and may have been started by another code than ours."""
        peer = Peer(self._loop, sock, self._heard, self._gone)
        # Not now: it may be dead, and whoever is told of that must have been set up.
        self._loop.after(0, lambda: peer.send({"n": _ASK_VERSION, "op": "version"}))
        return peer

    def _spawn(self) -> socket.socket:
        """Start the process; returns a connection to it, the first."""
        listener = seqpacket.listen(f"{self._path}.new")
        connection = seqpacket.connect(f"{self._path}.new")
        os.rename(f"{self._path}.new", self._path)
        folder = os.path.dirname(os.path.abspath(__file__))
        argv = [sys.executable, "-I", "-S", folder, self._role, self._exec_root, code_version()]
        actions = [(os.POSIX_SPAWN_DUP2, listener.fileno(), 3)]
        if listener.fileno() == 3:  # DUP2 onto itself would leave close-on-exec set
            os.set_inheritable(3, True)
            actions = []
        pid = os.posix_spawn(
            sys.executable, argv, dict(os.environ), file_actions=actions, setsigmask=(), setpgroup=0
        )
        listener.close()
        self._wait_for(pid)
        return connection

    def _wait_for(self, pid: int) -> None:
        fd = os.pidfd_open(pid)
        self.children.add(pid)

        def ended() -> None:
            self._loop.forget(fd)
            os.close(fd)
            self.children.discard(pid)
            os.waitpid(pid, 0)

        self._loop.watch(fd, ended)

    def _heard(self, peer: Peer, message: dict[str, Any], fds: list[int]) -> None:
        if message.get("n") == _ASK_VERSION:
            self._outdated = message.get("version") != code_version()
            self.replace_outdated()
        elif "inherit" in message:
            self._bequest.append(({"op": "inherit", **message}, list(fds)))
            fds.clear()
        else:
            self._on_message(peer, message, fds)

    def replace_outdated(self) -> None:
        """Have another one take its place if it is of other code, and if it may end."""
        if self._outdated and self._may_end():
            self._outdated = False
            self.peer.send({"op": "shutdown", "heir": True})

    def _gone(self, _: Peer) -> None:
        if not self._loop.running:
            return
        self._outdated = False
        self.peer = self._connect()
        bequest, self._bequest = self._bequest, []
        for message, fds in bequest:
            self.peer.send(message, fds)
            for fd in fds:
                os.close(fd)
        self._on_restart()

    def send(
        self,
        message: dict[str, Any],
        fds: list[int] | tuple[int, ...] = (),
        sent: Callable[[], None] | None = None,
    ) -> None:
        """Send a message. If the process has just died it is lost: on_restart repeats what matters."""
        self.peer.send(message, fds, sent)


def listening_socket(fd: int) -> socket.socket:
    """The listening socket handed over as `fd`."""
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)


def bequests(held: list[tuple[Any, list[int]]]) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Messages that leave named lots of descriptors to our heir, as many in each as it may have."""
    keys: list[tuple[Any, int]] = []
    fds: list[int] = []
    for key, each in held:
        if len(fds) + len(each) > MAX_FDS:
            yield {"inherit": keys}, fds
            keys, fds = [], []
        keys.append((key, len(each)))
        fds += each
    if keys:
        yield {"inherit": keys}, fds
