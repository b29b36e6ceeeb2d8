"""What is bound read-only into a user namespace stays so, whatever capabilities somebody has in there.

The kernel locks the flags of mounts that a mount namespace with fewer rights gets by being copied: see
"Restrictions on mount namespaces" in mount_namespaces(7). A process that lives for this alone brings the
mounts into such a copy, and hands them out from there.
"""

from __future__ import annotations

import os
import socket
import stat

from corten.linux import mounts as m
from corten.linux.namespaces import CLONE_NEWNS, CLONE_NEWUSER, unshare
from corten.task.channel import SetupError, tell, tell_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.task.operations.binds import BindMount


def needs_locks(bind: BindMount) -> bool:
    """Whether anything is forbidden. What is shared with the host is not locked: it would be cut off."""
    options = bind.options
    shared = any(flags & m.MS_SHARED for flags in options.propagation)
    return bool(options.attributes() or options.recursive_set) and not shared


def send_locked(sock: socket.socket, mountpoint: str, binds: list[tuple[int, BindMount]]) -> None:
    """Tell of the binds (made, by their place in the document) with locked flags; closes theirs.

    mountpoint: any directory. Raises SetupError if it failed; then that has been told.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _send(sock, mountpoint, binds)
            status = 0
        except OSError as e:
            tell_error(sock, SetupError.of(e, "lock mounts"))
        finally:
            os._exit(status)
    for _, bind in binds:
        os.close(bind.tree)
    if os.waitpid(pid, 0)[1]:
        raise SetupError(5, "lock mounts", "the process that locks mounts has failed")


def _send(sock: socket.socket, mountpoint: str, binds: list[tuple[int, BindMount]]) -> None:
    unshare(CLONE_NEWNS)
    m.mount(None, "/", None, m.MS_REC | m.MS_PRIVATE)
    m.mount("tmpfs", mountpoint, "tmpfs", 0, "mode=755")
    os.chdir(mountpoint)  # followed into the copy; outside of the tmpfs nothing may be open to nobody
    for place, bind in binds:
        if not bind.options.propagation:
            m.mount_setattr(bind.tree, propagation=m.MS_PRIVATE, recursive=True)
        bind.set_attributes()
        name = str(place)
        if stat.S_ISDIR(os.fstat(bind.tree).st_mode):
            os.mkdir(name)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        target = os.open(name, os.O_PATH | os.O_CLOEXEC)
        m.move_mount(bind.tree, target)
        os.close(target)
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    for place, _ in binds:
        tree = m.open_tree(m.AT_FDCWD, str(place), m.OPEN_TREE_CLONE | m.AT_RECURSIVE)
        tell(sock, {"mount": place}, (tree,))
        os.close(tree)
