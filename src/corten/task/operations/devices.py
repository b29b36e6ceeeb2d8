"""Device nodes, and what every /dev has."""

from __future__ import annotations

import os
import stat

from corten.linux import mounts as m

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.task.operations.root import Root


class MakeDevice:
    """Make a device node."""

    __slots__ = ("device", "gid", "kind", "mode", "path", "uid")

    def __init__(self, path: str, kind: int, device: int, mode: int, uid: int, gid: int) -> None:
        self.path, self.kind, self.device, self.mode = path, kind, device, mode
        self.uid, self.gid = uid, gid

    def describe(self) -> str:
        return f"make device {self.path}"

    def apply(self, root: Root) -> None:
        parent, _, name = self.path.rpartition("/")
        directory = root.directory(parent or "/")
        try:
            os.mknod(name, self.kind | self.mode, self.device, dir_fd=directory)  # umask is 0 here
        except FileExistsError:
            info = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_IFMT(info.st_mode) != self.kind or info.st_rdev != self.device:
                os.unlink(name, dir_fd=directory)
                os.mknod(name, self.kind | self.mode, self.device, dir_fd=directory)
        if self.uid or self.gid:
            os.chown(name, self.uid, self.gid, dir_fd=directory, follow_symlinks=False)
        os.close(directory)


class BindDevice:
    """Show a device node that lies elsewhere: mknod(2) is forbidden in user namespaces."""

    __slots__ = ("path", "tree")

    def __init__(self, path: str, tree: int) -> None:
        self.path, self.tree = path, tree

    def describe(self) -> str:
        return f"bind device {self.path}"

    def apply(self, root: Root) -> None:
        target = root.file(self.path)
        m.move_mount(self.tree, target)
        os.close(target)
        os.close(self.tree)


class PopulateDev:
    """What every /dev has, in one go: directories to mount on, device nodes, links.

    devices: (name, major, minor), all with mode 0666; links: (name, target).
    """

    __slots__ = ("devices", "directories", "links")

    def __init__(
        self,
        directories: list[str],
        devices: tuple[tuple[str, int, int], ...],
        links: tuple[tuple[str, str], ...],
    ) -> None:
        self.directories, self.devices, self.links = directories, devices, links

    def describe(self) -> str:
        return "populate /dev"

    def apply(self, root: Root) -> None:
        fd = root.directory("/dev")
        for name in self.directories:
            try:
                os.mkdir(name, 0o755, dir_fd=fd)
            except FileExistsError:
                pass
        for name, major, minor in self.devices:
            number = os.makedev(major, minor)
            try:
                os.mknod(name, stat.S_IFCHR | 0o666, number, dir_fd=fd)  # umask is 0 here
            except FileExistsError:
                MakeDevice(f"/dev/{name}", stat.S_IFCHR, number, 0o666, 0, 0).apply(root)
        for name, target in self.links:
            try:
                os.symlink(target, name, dir_fd=fd)
            except FileExistsError:
                pass
        os.close(fd)
