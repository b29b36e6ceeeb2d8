"""What is done to build a container's root, one object per step.

Each operation says what it does (`describe()`, printed by `--explain` and in errors) and does it
(`apply(root)`). They run in the new mount namespace of the container's init, so undoing them is the
kernel's work: the namespace dies with the process.

Paths inside the container are resolved by the kernel below the root's fd (openat2(2) with
RESOLVE_IN_ROOT) and then used as /proc/self/fd/N: an image or a shared volume full of symlinks cannot
lead a mount out of the root. The /proc in use is the host's, until pivot_root.
"""

from __future__ import annotations

import errno
import os
import stat

from corten.linux import mounts as m
from corten.linux.openat2 import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    make_dirs_in_root,
    open_beneath,
    open_in_root,
)
from corten.task.mount_options import MountOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Operation(Protocol):
        """One step; raises OSError."""

        def describe(self) -> str:
            """One line for people."""

        def apply(self, root: Root) -> None:
            """Do it."""


_MOUNT_DATA_MAX = 4000


class Root:
    """The container's root directory while it is being built: an fd, -1 before it is mounted."""

    __slots__ = ("fd", "null_fd")

    def __init__(self) -> None:
        self.fd = -1
        self.null_fd = -1

    def enter(self, path: str) -> None:
        """Make `path` (a mount point by now) the root and the working directory."""
        os.chdir(path)
        self.fd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def take_null(self) -> None:
        """Open the host's /dev/null, to lay over files that are masked.

        The container's could be anything (CVE-2025-31133). It is made read-only, in our mount namespace
        alone, or its mode and owner could be changed through every mask.
        """
        tree = m.open_readonly("/dev/null")
        plain = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
        m.move_mount(tree, plain)
        os.close(plain)
        os.close(tree)
        self.null_fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)

    def directory(self, path: str) -> int:
        """O_PATH fd of a directory inside, made if it is missing."""
        try:
            return open_in_root(self.fd, path, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            return make_dirs_in_root(self.fd, path)

    def file(self, path: str) -> int:
        """O_PATH fd of a non-directory inside, made (empty) if it is missing."""
        try:
            return open_in_root(self.fd, path, os.O_PATH)
        except FileNotFoundError:
            parent, _, name = path.rstrip("/").rpartition("/")
            directory = self.directory(parent or "/")
            try:
                os.close(
                    os.open(
                        name,
                        os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                        0o755,
                        dir_fd=directory,
                    )
                )
            finally:
                os.close(directory)
            return open_in_root(self.fd, path, os.O_PATH)

    def real_directory(self, path: str) -> int:
        """As directory(), but no symlink may be on the way: for /proc and /sys (CVE-2019-19921)."""
        strict = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
        try:
            return open_beneath(self.fd, path, os.O_PATH | os.O_DIRECTORY, resolve=strict)
        except FileNotFoundError:
            os.close(make_dirs_in_root(self.fd, path))
            return open_beneath(self.fd, path, os.O_PATH | os.O_DIRECTORY, resolve=strict)
        except OSError as e:
            if e.errno in (errno.ELOOP, errno.ENOTDIR):
                raise OSError(e.errno, f"{path} must be an ordinary directory", path) from None
            raise


def fd_path(fd: int) -> bytes:
    """The path by which mount(2) reaches exactly what `fd` refers to."""
    return b"/proc/self/fd/%d" % fd


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

    def apply(self, root: Root) -> None:
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
        for flags in options.propagation or [m.MS_PRIVATE | m.MS_REC]:
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


class ReadonlyRoot:
    """Make the root mount itself read-only (mounts below keep their own flags)."""

    __slots__ = ()

    def describe(self) -> str:
        return "make / read-only"

    def apply(self, root: Root) -> None:
        m.mount_setattr(root.fd, set_flags=m.MOUNT_ATTR_RDONLY)
