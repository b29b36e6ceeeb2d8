"""What a container must not see or change of the kernel, and the parameters that are its own."""

from __future__ import annotations

import errno
import os
import stat

from corten.linux import mounts as m
from corten.linux.openat2 import open_in_root
from corten.task.operations.root import fd_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.task.operations.root import Root


class MaskPath:
    """Hide a path: an empty read-only tmpfs over a directory, /dev/null over a file; missing is fine."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"mask {self.path}"

    def apply(self, root: Root) -> None:
        try:
            fd = open_in_root(root.fd, self.path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            m.mount("tmpfs", fd_path(fd), "tmpfs", m.MS_RDONLY, "size=0k")
        else:
            m.mount(fd_path(root.null_fd), fd_path(fd), None, m.MS_BIND)
        os.close(fd)


class ReadonlyPath:
    """Make a subtree read-only by a read-only bind of it over itself; missing is fine."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"make {self.path} read-only"

    def apply(self, root: Root) -> None:
        try:
            fd = open_in_root(root.fd, self.path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        tree = m.open_tree(fd, b"", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH | m.AT_RECURSIVE)
        m.mount_setattr(tree, set_flags=m.MOUNT_ATTR_RDONLY)  # its other flags come with the clone
        m.move_mount(tree, fd)
        os.close(tree)
        os.close(fd)


class WriteSysctl:
    """Set a kernel parameter of the container's own namespaces through its own /proc."""

    __slots__ = ("key", "value")

    def __init__(self, key: str, value: str) -> None:
        self.key, self.value = key, value

    def describe(self) -> str:
        return f"set sysctl {self.key}={self.value}"

    def apply(self, root: Root) -> None:
        # sysctl(8): dots separate, and a slash stands for a dot within a name.
        path = "/proc/sys/" + self.key.translate({ord("."): "/", ord("/"): "."})
        if ".." in path.split("/"):
            raise OSError(errno.EINVAL, "not a kernel parameter", self.key)
        fd = open_in_root(root.fd, path, os.O_WRONLY)
        try:
            os.write(fd, self.value.encode())
        finally:
            os.close(fd)
