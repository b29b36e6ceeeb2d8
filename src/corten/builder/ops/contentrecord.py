"""The name of a tree's content, as a tree of names: each directory's covers those of what is in it.

Covered of each file: name, type and permissions, owner, extended attributes, link target, device, content.
Not covered: times, inode numbers, where the tree lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping


def record(
    name: bytes, mode: int, uid: int, gid: int, xattrs: Mapping[bytes, bytes] | None, detail: bytes
) -> bytes:
    """One file of a directory. `xattrs` sorted by name.

    detail: of a file its content's sha256, of a directory its `tree_digest`, of a symlink its target, of a
    device its number. Lengths are given, so that no two files look alike.
    """
    extra = b"".join(b"%d:%s%d:%s" % (len(k), k, len(v), v) for k, v in xattrs.items()) if xattrs else b""
    return b"%d:%s%o %d %d %d:%s%d:%s" % (
        len(name),
        name,
        mode,
        uid,
        gid,
        len(extra),
        extra,
        len(detail),
        detail,
    )


def tree_digest(records: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The digest of a directory: of its (name, record) in the order of the names' bytes."""
    return hashlib.sha256(b"".join(each for _, each in sorted(records))).digest()
