"""The root file system itself: mounted or taken over, made the root, made read-only."""

from __future__ import annotations

import os

from corten.linux import mounts as m

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.task.operations.root import Root

_MOUNT_DATA_MAX = 4000


def mount_overlay(lower: list[str], upper: str, work: str, mountpoint: str, volatile: bool) -> None:
    """Mount layers (uppermost first) and a writable directory as overlayfs. All paths are ours.

    An image may have the same layer twice, which overlayfs refuses (ELOOP): the uppermost one hides all
    of the others.
    """
    lower = list(dict.fromkeys(lower))
    data = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work}"
    if volatile:
        data += ",volatile"
    if len(data) < _MOUNT_DATA_MAX and "\\" not in data:
        m.mount("overlay", mountpoint, "overlay", 0, data)
        return
    # mount(2) takes one page of options; fsconfig(2) takes each layer by itself (Linux 6.5).
    options: list[tuple[str, str | None]] = [("lowerdir+", path) for path in lower]
    options += [("upperdir", upper), ("workdir", work)]
    if volatile:
        options.append(("volatile", None))
    detached = m.fsmount("overlay", options)
    target = os.open(mountpoint, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    m.move_mount(detached, target)
    os.close(target)
    os.close(detached)


class MountOverlay:
    """Mount the container's layers and its writable directory as overlayfs, and enter it."""

    __slots__ = ("lower", "mountpoint", "upper", "volatile", "work")

    def __init__(self, lower: list[str], upper: str, work: str, mountpoint: str, volatile: bool) -> None:
        self.lower, self.upper, self.work = lower, upper, work
        self.mountpoint, self.volatile = mountpoint, volatile

    def describe(self) -> str:
        return f"mount overlay of {len(self.lower)} layers on {self.mountpoint}"

    def apply(self, root: Root) -> None:
        mount_overlay(self.lower, self.upper, self.work, self.mountpoint, self.volatile)
        root.enter(self.mountpoint)


class BindRoot:
    """Take a directory that somebody else prepared as the root (OCI bundles)."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"bind mount root file system {self.path}"

    def apply(self, root: Root) -> None:
        tree = m.open_tree(m.AT_FDCWD, self.path, m.OPEN_TREE_CLONE | m.AT_RECURSIVE)
        m.mount_setattr(tree, propagation=m.MS_PRIVATE, recursive=False)
        target = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        m.move_mount(tree, target)
        os.close(target)
        os.close(tree)
        root.enter(self.path)


class AttachRoot:
    """Take a detached mount as the root; it goes on top of the working directory."""

    __slots__ = ("tree",)

    def __init__(self, tree: int) -> None:
        self.tree = tree

    def describe(self) -> str:
        return "attach root file system"

    def apply(self, root: Root) -> None:
        m.move_mount(self.tree, m.AT_FDCWD)  # to open "." one would have to be allowed to search it
        os.fchdir(self.tree)
        root.enter(".")
        os.close(self.tree)


class PivotRoot:
    """Make the new root the root, and let go of the host's.

    Both arguments "." stack the old root below the new one, so no directory for it is needed
    (pivot_root(2), "NOTES"). What stays mounted below is detached at once.
    """

    __slots__ = ()

    def describe(self) -> str:
        return "pivot_root"

    def apply(self, root: Root) -> None:
        os.fchdir(root.fd)
        m.pivot_root(b".", b".")
        m.umount2(b".", m.MNT_DETACH)
        os.chdir("/")


class SetRootPropagation:
    """Give the root mount its propagation (runtime-spec config-linux.md, "Rootfs Mount Propagation").

    Last of all: an unbindable root could not be worked on. "shared" is a peer group of the container's own:
    what is mounted inside never reaches the host.
    """

    __slots__ = ("flags",)

    def __init__(self, flags: int) -> None:
        self.flags = flags

    def describe(self) -> str:
        return "set propagation of /"

    def apply(self, root: Root) -> None:
        recursive = bool(self.flags & m.MS_REC)
        m.mount_setattr(root.fd, propagation=self.flags & ~m.MS_REC, recursive=recursive)


class ReadonlyRoot:
    """Make the root mount itself read-only (mounts below keep their own flags)."""

    __slots__ = ()

    def describe(self) -> str:
        return "make / read-only"

    def apply(self, root: Root) -> None:
        m.mount_setattr(root.fd, set_flags=m.MOUNT_ATTR_RDONLY)
