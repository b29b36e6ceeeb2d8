"""File modes as Go's os.FileMode has them on the wire, and as the kernel has them.

Source: Go's documentation of io/fs.FileMode.
"""

from __future__ import annotations

import stat

MODE_DIR = 1 << 31
MODE_SYMLINK = 1 << 27
MODE_DEVICE = 1 << 26

_TYPES = (
    (MODE_DIR, stat.S_IFDIR),
    (MODE_SYMLINK, stat.S_IFLNK),
    (1 << 25, stat.S_IFIFO),
    (1 << 24, stat.S_IFSOCK),
    (MODE_DEVICE | 1 << 21, stat.S_IFCHR),
    (MODE_DEVICE, stat.S_IFBLK),
)
_BITS = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))


def from_go(mode: int) -> int:
    """The kernel's mode.

    >>> oct(from_go(0x80000000 | 0o755)), oct(from_go(0o644))
    ('0o40755', '0o100644')
    """
    kind = next((kind for bits, kind in _TYPES if mode & bits == bits), stat.S_IFREG)
    return kind | mode & 0o777 | sum(bit for go, bit in _BITS if mode & go)


def to_go(mode: int) -> int:
    """Go's mode.

    >>> hex(to_go(0o41777)), hex(to_go(0o120777))
    ('0x801001ff', '0x80001ff')
    """
    kind = next((bits for bits, kind in _TYPES if stat.S_IFMT(mode) == kind), 0)
    return kind | mode & 0o777 | sum(go for go, bit in _BITS if mode & bit)
