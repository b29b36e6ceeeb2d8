"""The container's root while it is being built, and how paths inside it are reached."""

from __future__ import annotations

import errno
import os

from corten.linux import mounts as m
from corten.linux.openat2 import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    make_dirs_in_root,
    open_beneath,
    open_in_root,
)


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
