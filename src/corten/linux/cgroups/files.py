"""Reading and writing the small text files of cgroupfs, relative to directory fds."""

from __future__ import annotations

import errno
import os

_WRITE = os.O_WRONLY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def check_path(path: str) -> None:
    """Raise OSError(EINVAL) for a cgroup's path that would lead out of the hierarchy."""
    if ".." in path.split("/") or not path.startswith("/"):
        raise OSError(errno.EINVAL, "invalid cgroup path", path)


def write(directory: int, name: str, value: str) -> None:
    """Write `value` in one write(2), as the kernel wants it; several lines are as many writes.

    Raises OSError naming the file and the line.
    """
    handle = os.open(name, _WRITE, dir_fd=directory)
    try:
        for line in value.split("\n"):
            try:
                os.write(handle, line.encode())
            except OSError as error:
                raise OSError(error.errno, f"{error.strerror} (writing {line!r})", name) from None
    finally:
        os.close(handle)


def read(directory: int, name: str) -> str:
    """The whole file. Raises OSError."""
    handle = os.open(name, _READ, dir_fd=directory)
    try:
        parts = []
        while part := os.read(handle, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(handle)


def read_or_none(directory: int, name: str) -> str | None:
    """The whole file; None if there is none, or none that can be read here."""
    try:
        return read(directory, name)
    except OSError:
        return None


def read_number(directory: int, name: str, *, unlimited: int = 0) -> int:
    """The number in the file; `unlimited` for `max`, 0 if there is no such file."""
    text = (read_or_none(directory, name) or "0").strip()
    return unlimited if text == "max" else int(text)


def keyed(text: str | None) -> dict[str, int]:
    """`key number` lines -> dict."""
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].lstrip("-").isdigit()}


def subdirectories(directory: int) -> list[str]:
    """Names of the directories in an open directory, which is read from its start."""
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def walk(parent: int, name: str) -> list[str]:
    """`name` and every directory below it, as paths relative to `parent`, outer ones first."""
    found = [name]
    for path in found:  # grows while we go
        try:
            handle = os.open(path, DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            continue
        try:
            found.extend(f"{path}/{below}" for below in subdirectories(handle))
        finally:
            os.close(handle)
    return found


def tree_pids(parent: int, name: str) -> list[int]:
    """Processes of a cgroup and those below it; [] if it is gone."""
    pids: list[int] = []
    for path in walk(parent, name):
        try:
            pids.extend(map(int, read(parent, path + "/cgroup.procs").split()))
        except (FileNotFoundError, OSError) as error:
            if error.errno not in _GONE:
                raise
    return pids


def remove_tree(parent: int, name: str) -> None:
    """rmdir a cgroup, and those below it first if there are any. Fine if it is gone. Raises OSError."""
    try:
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (16, 39):  # EBUSY from cgroupfs, ENOTEMPTY from others
            raise
        below = walk(parent, name)
        if len(below) == 1:
            raise
        for path in reversed(below):
            try:
                os.rmdir(path, dir_fd=parent)
            except FileNotFoundError:
                continue


_GONE = (2, 19)  # ENOENT; ENODEV: the cgroup went between open and read
