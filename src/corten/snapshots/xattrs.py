"""Which extended attributes travel with a layer, and how to set them without following links."""

from __future__ import annotations

import errno
import os

OPAQUE = "trusted.overlay.opaque"
# Ours alone: a layer that could set trusted.overlay.redirect or .origin would show files of other layers.
_PRIVATE = ("trusted.overlay.", "user.overlay.")
_PORTABLE = ("user.", "trusted.", "security.capability", "system.posix_acl_")


def is_portable(name: str) -> bool:
    """Whether the attribute belongs to the file (capabilities, user data, ACLs) and not to this machine.

    Labels of this machine's security modules and overlayfs' private marks do not travel.
    """
    return name.startswith(_PORTABLE) and not name.startswith(_PRIVATE)


def get_portable(target: int | str) -> dict[bytes, bytes]:
    """The attributes, of an fd or a path (never of what a symlink points to), that travel; sorted by name."""
    follow = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError as e:
        if e.errno in (errno.ENOTSUP, errno.EPERM):
            return {}
        raise
    if not names:
        return {}  # most files
    return {
        os.fsencode(name): os.getxattr(target, name, follow_symlinks=follow)
        for name in sorted(names)
        if is_portable(name)
    }


def set_portable(target: int | str, attributes: dict[bytes, bytes]) -> None:
    """Set those attributes that travel, on an fd or a path that must not be followed.

    A file system without them (ENOTSUP) keeps the file without them, as Docker does.
    """
    for raw, value in attributes.items():
        name = os.fsdecode(raw)
        if not is_portable(name):
            continue
        try:
            if isinstance(target, int):
                os.setxattr(target, name, value)
            else:
                os.setxattr(target, name, value, follow_symlinks=False)
        except OSError as e:
            if e.errno != errno.ENOTSUP:
                raise
