"""Kernel file systems inside: proc, sysfs, tmpfs and their kin, and the container's control groups."""

from __future__ import annotations

import os
import stat

from corten.linux import mounts as m
from corten.task.mount_options import MountOptions
from corten.task.operations.root import fd_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.task.operations.root import Root


class MountFilesystem:
    """Mount a kernel file system (proc, sysfs, tmpfs, devpts, mqueue, ...)."""

    __slots__ = ("destination", "fstype", "options", "source")

    def __init__(self, source: str, destination: str, fstype: str, options: MountOptions) -> None:
        self.source, self.destination, self.fstype, self.options = source, destination, fstype, options

    def describe(self) -> str:
        return f"mount {self.fstype} on {self.destination}"

    def apply(self, root: Root) -> None:
        strict = self.fstype in ("proc", "sysfs")
        fd = root.real_directory(self.destination) if strict else root.directory(self.destination)
        saved = _save_tree(fd) if self.options.copy_up else None
        m.mount(self.source, fd_path(fd), self.fstype, self.options.flags, self.options.data or None)
        os.close(fd)
        if saved is not None:
            _copy_tree(saved, root, self.destination)
        for flags in self.options.propagation:
            target = root.directory(self.destination)
            m.mount(None, fd_path(target), None, flags)
            os.close(target)


def _save_tree(fd: int) -> int:
    """A readable fd of the directory that a tmpfs with "tmpcopyup" is about to hide."""
    return os.open(fd_path(fd), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _copy_tree(source: int, root: Root, destination: str) -> None:
    target_path = root.directory(destination)
    target = os.open(fd_path(target_path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.close(target_path)
    _copy_directory(source, target)
    os.close(source)
    os.close(target)


def _copy_directory(source: int, target: int) -> None:
    """Copy what is in directory fd `source` into `target`: directories, files, symlinks, with owners."""
    for name in os.listdir(source):
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            os.mkdir(name, dir_fd=target)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner, outer = os.open(name, flags, dir_fd=source), os.open(name, flags, dir_fd=target)
            _copy_directory(inner, outer)
            os.close(inner)
            os.close(outer)
        elif stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISREG(info.st_mode):
            inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
            outer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
            while os.sendfile(outer, inner, None, 1 << 20):
                pass
            os.close(inner)
            os.close(outer)
        else:
            continue
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)


class MountCgroups:
    """Show the container its own control groups at /sys/fs/cgroup.

    `hierarchies`: (directory name, mount options) of each cgroup v1 hierarchy; [("", "")] on cgroup v2.
    Needs the cgroup namespace to be in place, so that the container's own cgroup is the root it sees.
    """

    __slots__ = ("destination", "hierarchies", "options")

    def __init__(self, destination: str, options: MountOptions, hierarchies: list[tuple[str, str]]) -> None:
        self.destination, self.options, self.hierarchies = destination, options, hierarchies

    def describe(self) -> str:
        return f"mount cgroups on {self.destination}"

    def apply(self, root: Root) -> None:
        fd = root.directory(self.destination)
        flags = self.options.flags
        if self.hierarchies == [("", "")]:
            m.mount("cgroup", fd_path(fd), "cgroup2", flags, self.options.data or None)
            os.close(fd)
            return
        m.mount("tmpfs", fd_path(fd), "tmpfs", flags & ~m.MS_RDONLY, "mode=755")
        os.close(fd)
        fd = root.directory(self.destination)
        for name, options in self.hierarchies:
            os.mkdir(name, 0o755, dir_fd=fd)
            m.mount("cgroup", fd_path(fd) + b"/" + os.fsencode(name), "cgroup", flags, options)
        if flags & m.MS_RDONLY:
            m.mount(None, fd_path(fd), None, m.MS_REMOUNT | m.MS_BIND | flags)
        os.close(fd)
