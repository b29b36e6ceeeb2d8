"""The value of `--chown`: ids, or names that the image's own passwd and group files know."""

from __future__ import annotations

import os
import stat

from corten.errors import InvalidParameter
from corten.linux.openat2 import open_file_in_root

_MAX_FILE = 4 << 20  # an image may bring any file as /etc/passwd
_MAX_ID = (1 << 32) - 2  # -1 means "leave it" to chown(2)


def parse_owner(text: str, rootfd: int) -> tuple[int, int]:
    """`user[:group]` as (uid, gid), names looked up below `rootfd`.

    Without a group: a numeric user's gid is the same number, a named user's that of its passwd entry. What
    is empty beside a colon is 0.
    Raises InvalidParameter, also for ids above 2^32 - 2.
    """
    user, colon, group = text.partition(":")
    if user.isascii() and user.isdecimal():
        uid = gid = _number(user)
    else:
        uid, gid = _find_user(user, rootfd) if user else (0, 0)
    if colon and not group:
        gid = 0
    elif group:
        gid = _number(group) if group.isascii() and group.isdecimal() else _find_group(group, rootfd)
    return uid, gid


def _number(text: str) -> int:
    number = int(text[:11])
    if number > _MAX_ID:
        raise InvalidParameter(f"uids and gids must be in range 0-{_MAX_ID}: {text}")
    return number


def _find_user(name: str, rootfd: int) -> tuple[int, int]:
    for fields in _entries(rootfd, "etc/passwd"):
        if fields[0] == name and len(fields) > 3 and fields[2].isdecimal() and fields[3].isdecimal():
            return _number(fields[2]), _number(fields[3])
    raise InvalidParameter(
        "unable to convert uid/gid chown string to host mapping: "
        f"can't find uid for user {name}: no such user: {name}"
    )


def _find_group(name: str, rootfd: int) -> int:
    for fields in _entries(rootfd, "etc/group"):
        if fields[0] == name and len(fields) > 2 and fields[2].isdecimal():
            return _number(fields[2])
    raise InvalidParameter(
        "unable to convert uid/gid chown string to host mapping: "
        f"can't find gid for group {name}: no such group: {name}"
    )


def _entries(rootfd: int, path: str) -> list[list[str]]:
    try:
        fd = open_file_in_root(rootfd, path)
    except OSError:
        return []
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        text = os.read(fd, _MAX_FILE).decode(errors="replace")
    finally:
        os.close(fd)
    return [line.split(":") for line in text.splitlines()]
