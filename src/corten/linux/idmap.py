"""User namespaces without processes: what id-mapped mounts (mount_setattr(2), Linux 5.12) are told by."""

from __future__ import annotations

import os
import signal

from corten.linux.namespaces import CLONE_NEWUSER, open_namespace, write_id_map
from corten.linux.process import clone3, end


def user_namespace(uids: list[dict[str, int]], gids: list[dict[str, int]]) -> int:
    """An fd of a new user namespace with these maps (OCI: containerID, hostID, size).

    For a mount, containerID is the id on the disk and hostID the id that is seen. The caller must be
    single-threaded, see `corten.linux.process`. Raises OSError for maps that are none.
    """
    pid, pidfd = clone3(CLONE_NEWUSER)
    if pid == 0:
        while True:
            signal.pause()
    try:
        write_id_map(pid, "uid", uids)
        write_id_map(pid, "gid", gids)
        return open_namespace(pid, "user")
    finally:
        end(pid, pidfd)
        os.close(pidfd)
