"""/proc/self/mountinfo: what is mounted where. Format: proc_pid_mountinfo(5)."""

from __future__ import annotations

import os

_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


class MountEntry:
    """One mount. root: what of the file system is seen. propagation: optional fields, e.g. ["shared:1"]."""

    __slots__ = ("fstype", "path", "propagation", "root", "source")

    def __init__(self, path: str, fstype: str, source: str, propagation: list[str], root: str = "/") -> None:
        self.path, self.fstype, self.source, self.propagation = path, fstype, source, propagation
        self.root = root

    @property
    def shared(self) -> bool:
        """Whether mounts made below are seen by its peers."""
        return any(field.startswith("shared:") for field in self.propagation)

    @property
    def slave(self) -> bool:
        """Whether it sees the mounts that its master's peers make."""
        return any(field.startswith("master:") for field in self.propagation)


def read_mounts(process: int | str = "self") -> list[MountEntry]:
    """All mounts of a process's namespace, ours by default, in the order in which they were made."""
    with open(f"/proc/{process}/mountinfo", errors="surrogateescape") as file:
        return [_parse(line) for line in file]


def mounts_below(directory: str) -> list[str]:
    """Paths of the mounts in `directory` or further down, innermost last."""
    prefix = directory.rstrip("/") + "/"
    return [entry.path for entry in read_mounts() if entry.path.startswith(prefix)]


def mount_of(path: str) -> MountEntry:
    """The mount that `path` (resolved as it is) lies on."""
    real = os.path.realpath(path)
    found = None
    for entry in read_mounts():
        inside = entry.path == "/" or real == entry.path or real.startswith(entry.path + "/")
        if inside and (found is None or len(entry.path) >= len(found.path)):
            found = entry
    if found is None:
        raise FileNotFoundError(2, "not on any mount", path)
    return found


def _parse(line: str) -> MountEntry:
    head, _, tail = line.partition(" - ")
    fields = head.split(" ")
    fstype, source = tail.split(" ")[:2]
    return MountEntry(_plain(fields[4]), fstype, _plain(source), fields[6:], _plain(fields[3]))


def _plain(text: str) -> str:
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text
