"""What comes from elsewhere: files and directories of the host, and of other images."""

from __future__ import annotations

import os
import stat

from corten.linux import mounts as m
from corten.linux.openat2 import open_beneath
from corten.task.mount_options import MountOptions
from corten.task.operations.root import fd_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.task.operations.root import Root


class BindMount:
    """Show a file or directory of the host inside the container.

    The source is taken by open_tree(2) when the operation is made, i.e. before the namespace's
    propagation is cut: so "shared" binds stay peers of the host's mount, and nobody can swap the source
    between check and use.
    """

    __slots__ = ("destination", "options", "source", "tree", "userns_fd")

    def __init__(
        self, source: str, destination: str, options: MountOptions, userns_fd: int = -1, tree: int = -1
    ) -> None:
        """userns_fd: of a user namespace whose maps say who owns what in the mount; -1 = as on the disk.

        tree: what `prepare` would make, if another process has done so.
        """
        self.source, self.destination, self.options = source, destination, options
        self.userns_fd = userns_fd
        self.tree = tree

    def describe(self) -> str:
        return f"bind mount {self.source} to {self.destination}"

    def prepare(self) -> None:
        """Clone the source. Raises OSError (ENOENT if it does not exist)."""
        recursive = m.AT_RECURSIVE if self.options.flags & m.MS_REC else 0
        if self.options.subpath:
            source = os.open(self.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.tree = _clone_below(source, self.options.subpath, recursive)
            os.close(source)
        else:
            self.tree = m.open_tree(m.AT_FDCWD, self.source, m.OPEN_TREE_CLONE | recursive)
        if self.userns_fd >= 0:
            m.mount_setattr(
                self.tree,
                set_flags=m.MOUNT_ATTR_IDMAP,
                userns_fd=self.userns_fd,
                recursive=self.options.id_mapped == "ridmap",
            )

    def set_attributes(self) -> None:
        """What the options allow and forbid; again is the same."""
        options = self.options
        attributes, cleared = options.attributes(), options.attributes_cleared()
        if attributes or cleared:
            m.mount_setattr(self.tree, set_flags=attributes, clear_flags=cleared)
        if options.recursive_set or options.recursive_clear:
            m.mount_setattr(
                self.tree,
                set_flags=options.recursive_set,
                clear_flags=options.recursive_clear,
                recursive=True,
            )

    def apply(self, root: Root) -> None:
        self.set_attributes()
        for flags in self.options.propagation or [m.MS_PRIVATE | m.MS_REC]:
            m.mount_setattr(self.tree, propagation=flags & ~m.MS_REC, recursive=bool(flags & m.MS_REC))
        is_directory = stat.S_ISDIR(os.fstat(self.tree).st_mode)
        fd = root.directory(self.destination) if is_directory else root.file(self.destination)
        m.move_mount(self.tree, fd)
        os.close(fd)
        os.close(self.tree)


def _clone_below(fd: int, subpath: str, recursive: int = 0) -> int:
    """A detached clone of what lies at `subpath` below the directory `fd`; leaving it is EXDEV."""
    inner = open_beneath(fd, subpath, os.O_PATH)
    try:
        return m.open_tree(inner, b"", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH | recursive)
    finally:
        os.close(inner)


class MountLayers:
    """Show a directory or file of a stack of layers (another image's, uppermost first), read-only.

    The stack is mounted over the root for a moment: only what is mounted can be cloned in part. Needs
    overlayfs' "lowerdir+" (Linux 6.5).
    """

    __slots__ = ("destination", "layers", "subpath")

    def __init__(self, layers: list[str], subpath: str, destination: str) -> None:
        self.layers, self.subpath, self.destination = layers, subpath, destination

    def describe(self) -> str:
        return f"mount {self.subpath} of an image on {self.destination}"

    def apply(self, root: Root) -> None:
        mounted = m.fsmount(
            "overlay", [("lowerdir+", layer) for layer in self.layers], attr_flags=m.MOUNT_ATTR_RDONLY
        )
        m.move_mount(mounted, root.fd)
        try:
            tree = _clone_below(mounted, self.subpath)
        finally:
            m.umount2(fd_path(mounted), m.MNT_DETACH)
            os.close(mounted)
        m.mount_setattr(tree, propagation=m.MS_PRIVATE)
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        fd = root.directory(self.destination) if is_directory else root.file(self.destination)
        m.move_mount(tree, fd)
        os.close(fd)
        os.close(tree)
