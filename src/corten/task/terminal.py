"""The pseudo-terminal of a container: made in its own devpts, mastered from outside."""

from __future__ import annotations

import os
import socket

from corten.linux import mounts as m
from corten.linux import tty
from corten.task.channel import tell
from corten.task.operations import Root, fd_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def set_up(process: dict[str, Any], sock: socket.socket, root: Root | None) -> None:
    """Open a pty, send its master through `sock`, make the slave our controlling terminal and stdio.

    With `root` (a task's init, before pivot_root) the devpts below it is used and the slave is also
    bound to /dev/console; without (exec, already inside) /dev/pts as we see it.
    """
    if root is not None:
        directory = root.directory("/dev/pts")
        base = fd_path(directory).decode()
    else:
        directory, base = -1, "/dev/pts"
    master = tty.open_master(f"{base}/ptmx")
    slave = tty.open_peer(master)
    size = process.get("consoleSize")
    if size:
        tty.set_size(master, size["height"], size["width"])
    uid = (process.get("user") or {}).get("uid", 0)
    if uid:
        os.fchown(slave, uid, -1)
    if root is not None:
        console = root.file("/dev/console")
        name = f"{base}/{tty.slave_number(master)}"
        m.mount(name, fd_path(console), None, m.MS_BIND)
        os.close(console)
        os.close(directory)
    tell(sock, {"console": 1}, (master,))
    os.close(master)
    tty.make_controlling(slave)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    if slave > 2:
        os.close(slave)
