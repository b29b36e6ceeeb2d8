"""POSIX shared memory of containers that share it: `--ipc host`, `--ipc shareable`, `--ipc container:X`.

A private one is a mount in the container's own mount namespace. One that others may join must be reachable
from outside of it, so it is mounted on the host, in the container's directory.
"""

from __future__ import annotations

import errno
import os

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.networking import running_peer
from corten.linux import mounts as m

_FLAGS = m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC


def shm_source(context: Context, container: Container) -> str:
    """The directory of the host that is to be its /dev/shm; "" = one of its own. Raises Conflict, OSError."""
    mode = container.record.host_config.ipc_mode
    if mode == "host":
        return "/dev/shm"  # noqa: S108
    if ref := container_mode(mode):
        return _path(running_peer(context, ref, "ipc"))
    if mode != "shareable":
        return ""
    path = _path(container)
    os.makedirs(path, mode=0o700, exist_ok=True)
    if not os.path.ismount(path):
        size = container.record.host_config.shm_size
        m.mount("shm", path, "tmpfs", _FLAGS, f"mode=1777,size={size}")
    return path


def release_shm(container: Container) -> None:
    """Unmount it when the container has stopped; those who joined keep it until they end."""
    if container.record.host_config.ipc_mode != "shareable":
        return
    try:
        m.umount2(_path(container), m.MNT_DETACH)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOENT):
            raise


def _path(container: Container) -> str:
    return f"{container.directory}/shm"
