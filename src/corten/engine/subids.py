"""/etc/subuid and /etc/subgid: which ids of the host a user may give to user namespaces (subuid(5))."""

from __future__ import annotations

from collections.abc import Iterator

SUBUID, SUBGID = "/etc/subuid", "/etc/subgid"
_MOST = (1 << 32) - 2  # ids are 32 bits wide, and the last one means "none"

Range = tuple[int, int]
"""(first id, how many)"""


def subordinate_ranges(path: str, user: str, uid: int | None = None) -> list[Range]:
    """The user's ranges in the file's order; [] if there are none, or no file.

    uid: entries may name the user by it. What makes no sense is passed over.
    """
    names = {user, *([str(uid)] if uid is not None else [])}
    return [ids for name, ids in _entries(path) if name in names]


def every_range(path: str) -> list[Range]:
    """All users' ranges."""
    return [ids for _, ids in _entries(path)]


def _entries(path: str) -> Iterator[tuple[str, Range]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if not (first.isdecimal() and count.isdecimal()):
            continue
        if int(count) and int(first) and int(first) + int(count) <= _MOST:  # never root itself
            yield name, (int(first), int(count))
