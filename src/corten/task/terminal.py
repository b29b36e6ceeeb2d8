"""The pseudo-terminal of a container: made in its own devpts, mastered from outside."""

from __future__ import annotations

import os
import socket

from corten.linux import mounts as m
from corten.linux import tty
from corten.linux.openat2 import open_in_root
from corten.task.channel import tell
from corten.task.operations.root import fd_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def set_up(process: dict[str, Any], sock: socket.socket, root_fd: int, console_fd: int = -1) -> None:
    """Open a pty, send its master through `sock`, make the slave our controlling terminal and stdio.

    The pty is of the devpts at /dev/pts below `root_fd`; its slave is bound onto what `console_fd` (O_PATH)
    names. Both by descriptors alone: an image may have put anything where the names lead.
    """
    directory = open_in_root(root_fd, "/dev/pts", os.O_PATH | os.O_DIRECTORY)
    master = tty.open_master(directory)
    os.close(directory)
    slave = tty.open_peer(master)
    size = process.get("consoleSize")
    if size:
        tty.set_size(master, size["height"], size["width"])
    uid = (process.get("user") or {}).get("uid", 0)
    if uid:
        os.fchown(slave, uid, -1)
    if console_fd >= 0:
        m.mount(fd_path(slave), fd_path(console_fd), None, m.MS_BIND)
    tell(sock, {"console": 1}, (master,))
    os.close(master)
    tty.make_controlling(slave)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    if slave > 2:
        os.close(slave)
