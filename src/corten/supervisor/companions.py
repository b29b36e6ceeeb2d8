"""The processes that the supervisor starts and keeps alive: log writer and janitor."""

from __future__ import annotations

import os
import socket
import sys

from corten.linux import seqpacket
from corten.supervisor.peers import Peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.supervisor.loop import Loop


class Companion:
    """One such process, reached through its socket.

    A living one (of an earlier supervisor) is used as it is. Otherwise its listening socket is made
    here and handed to a new process as fd 3, so that whoever connects need not wait for its start.
    """

    __slots__ = ("_exec_root", "_loop", "_on_message", "_on_restart", "_path", "_role", "peer")

    def __init__(
        self,
        loop: Loop,
        role: str,
        exec_root: str,
        path: str,
        on_message: Callable[[Peer, dict[str, Any], list[int]], None],
        on_restart: Callable[[], None],
    ) -> None:
        self._loop, self._role, self._exec_root, self._path = loop, role, exec_root, path
        self._on_message, self._on_restart = on_message, on_restart
        self.peer = self._connect()

    def _connect(self) -> Peer:
        try:
            sock = seqpacket.connect(self._path)
        except OSError:
            self._spawn()
            sock = seqpacket.connect(self._path)
        return Peer(self._loop, sock, self._on_message, self._gone)

    def _spawn(self) -> None:
        listener = seqpacket.listen(self._path)
        folder = os.path.dirname(os.path.abspath(__file__))
        argv = [sys.executable, "-I", "-S", folder, self._role, self._exec_root]
        actions = [(os.POSIX_SPAWN_DUP2, listener.fileno(), 3)]
        if listener.fileno() == 3:  # DUP2 onto itself would leave close-on-exec set
            os.set_inheritable(3, True)
            actions = []
        pid = os.posix_spawn(
            sys.executable, argv, dict(os.environ), file_actions=actions, setsigmask=(), setpgroup=0
        )
        listener.close()
        fd = os.pidfd_open(pid)

        def ended() -> None:
            self._loop.forget(fd)
            os.close(fd)
            os.waitpid(pid, 0)

        self._loop.watch(fd, ended)

    def _gone(self, _: Peer) -> None:
        if not self._loop.running:
            return
        self.peer = self._connect()
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
