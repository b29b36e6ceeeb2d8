"""The words of fstab and of the OCI runtime-spec for mount options, as a table of flags.

Source: mount(8), runtime-spec config.md "Linux mount options".
"""

from __future__ import annotations

from corten.linux import mounts as m

# word -> (flags set, flags cleared)
_FLAGS: dict[str, tuple[int, int]] = {
    "async": (0, m.MS_SYNCHRONOUS),
    "atime": (0, m.MS_NOATIME),
    "bind": (m.MS_BIND, 0),
    "defaults": (0, 0),
    "dev": (0, m.MS_NODEV),
    "diratime": (0, m.MS_NODIRATIME),
    "dirsync": (m.MS_DIRSYNC, 0),
    "exec": (0, m.MS_NOEXEC),
    "iversion": (m.MS_I_VERSION, 0),
    "lazytime": (m.MS_LAZYTIME, 0),
    "loud": (0, m.MS_SILENT),
    "mand": (m.MS_MANDLOCK, 0),
    "noatime": (m.MS_NOATIME, 0),
    "nodev": (m.MS_NODEV, 0),
    "nodiratime": (m.MS_NODIRATIME, 0),
    "noexec": (m.MS_NOEXEC, 0),
    "noiversion": (0, m.MS_I_VERSION),
    "nolazytime": (0, m.MS_LAZYTIME),
    "nomand": (0, m.MS_MANDLOCK),
    "norelatime": (0, m.MS_RELATIME),
    "nostrictatime": (0, m.MS_STRICTATIME),
    "nosuid": (m.MS_NOSUID, 0),
    "rbind": (m.MS_BIND | m.MS_REC, 0),
    "relatime": (m.MS_RELATIME, 0),
    "remount": (m.MS_REMOUNT, 0),
    "ro": (m.MS_RDONLY, 0),
    "rw": (0, m.MS_RDONLY),
    "silent": (m.MS_SILENT, 0),
    "strictatime": (m.MS_STRICTATIME, 0),
    "suid": (0, m.MS_NOSUID),
    "sync": (m.MS_SYNCHRONOUS, 0),
}

PROPAGATION: dict[str, int] = {
    "private": m.MS_PRIVATE,
    "rprivate": m.MS_PRIVATE | m.MS_REC,
    "slave": m.MS_SLAVE,
    "rslave": m.MS_SLAVE | m.MS_REC,
    "shared": m.MS_SHARED,
    "rshared": m.MS_SHARED | m.MS_REC,
    "unbindable": m.MS_UNBINDABLE,
    "runbindable": m.MS_UNBINDABLE | m.MS_REC,
}

# Recursive attributes (runtime-spec 1.1): word -> (attributes set, attributes cleared)
_RECURSIVE: dict[str, tuple[int, int]] = {
    "rro": (m.MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, m.MOUNT_ATTR_RDONLY),
    "rnosuid": (m.MOUNT_ATTR_NOSUID, 0),
    "rsuid": (0, m.MOUNT_ATTR_NOSUID),
    "rnodev": (m.MOUNT_ATTR_NODEV, 0),
    "rdev": (0, m.MOUNT_ATTR_NODEV),
    "rnoexec": (m.MOUNT_ATTR_NOEXEC, 0),
    "rexec": (0, m.MOUNT_ATTR_NOEXEC),
    "rnosymfollow": (m.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rsymfollow": (0, m.MOUNT_ATTR_NOSYMFOLLOW),
}

_ATTRIBUTES = (
    (m.MS_RDONLY, m.MOUNT_ATTR_RDONLY),
    (m.MS_NOSUID, m.MOUNT_ATTR_NOSUID),
    (m.MS_NODEV, m.MOUNT_ATTR_NODEV),
    (m.MS_NOEXEC, m.MOUNT_ATTR_NOEXEC),
    (m.MS_NODIRATIME, m.MOUNT_ATTR_NODIRATIME),
)

RECURSIVE_WORDS = tuple(_RECURSIVE)
# Not an option of any file system: of the source only what lies at this path below it is shown.
SUBPATH = "x-corten.subpath="

WORDS = (*_FLAGS, *PROPAGATION, *_RECURSIVE, "tmpcopyup", "idmap", "ridmap")


class MountOptions:
    """A parsed list of option words. `data` is what only the file system understands."""

    __slots__ = (
        "cleared",
        "copy_up",
        "data",
        "flags",
        "id_mapped",
        "propagation",
        "recursive_clear",
        "recursive_set",
        "subpath",
    )

    def __init__(self, words: list[str]) -> None:
        self.flags = 0
        self.cleared = 0
        self.propagation: list[int] = []
        self.recursive_set = 0
        self.recursive_clear = 0
        self.copy_up = False
        self.subpath = ""
        self.id_mapped = ""
        data = []
        for word in words:
            if word in _FLAGS:
                on, off = _FLAGS[word]
                self.flags = (self.flags | on) & ~off
                self.cleared = (self.cleared | off) & ~on
            elif word in PROPAGATION:
                self.propagation.append(PROPAGATION[word])
            elif word in _RECURSIVE:
                on, off = _RECURSIVE[word]
                self.recursive_set |= on
                self.recursive_clear |= off
            elif word.startswith(SUBPATH):
                self.subpath = word[len(SUBPATH) :]
            elif word == "tmpcopyup":
                self.copy_up = True
            elif word in ("idmap", "ridmap"):
                self.id_mapped = word
            else:
                data.append(word)
        self.data = ",".join(data)

    def attributes(self) -> int:
        """The MS_* flags as MOUNT_ATTR_* for mount_setattr(2) (access time left to the mount)."""
        result = 0
        for flag, attribute in _ATTRIBUTES:
            if self.flags & flag:
                result |= attribute
        return result

    def attributes_cleared(self) -> int:
        """The flags explicitly turned off ("rw", "exec", ...) as MOUNT_ATTR_*."""
        result = 0
        for flag, attribute in _ATTRIBUTES:
            if self.cleared & flag:
                result |= attribute
        return result
