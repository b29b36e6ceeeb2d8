"""Who a container's process is: `USER` resolved by the image's own /etc/passwd and /etc/group.

Pure functions over the files' bytes. Rules: Docker's reference for `docker run --user` and the lookups
that dockerd makes; a name of digits is always an id here (a passwd entry *named* "0" must not decide).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from corten.errors import InvalidParameter

MAX_ID = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Ids of a process, its supplementary groups (primary included) and its home."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    uid: int
    gid: int
    home: str


def resolve_user(user: str, passwd: bytes, group: bytes, group_add: Sequence[str] = ()) -> Identity:
    """Resolve "", "name", "uid", "name:group", "uid:gid" and `--group-add`.

    Raises InvalidParameter with Docker's text if a name is not in its file or an id is out of range.
    """
    name, _, group_name = user.partition(":")
    entry = _find_user(name, passwd)
    if entry is None:
        if not _is_number(name):
            raise InvalidParameter(f"unable to find user {name}: no matching entries in passwd file")
        entry = _Entry("", _checked_id(name), 0, "/")
    gid, groups = entry.gid, []
    if group_name:
        found = _group_id(group_name, group)
        if found is None:
            raise InvalidParameter(f"unable to find group {group_name}: no matching entries in group file")
        gid = found
    elif entry.name:
        groups = [number for _, number, members in _groups(group) if entry.name in members]
    for extra in group_add:
        found = _group_id(extra, group)
        if found is None:
            raise InvalidParameter(f"Unable to find group {extra}: no matching entries in group file")
        groups.append(found)
    return Identity(entry.uid, gid, tuple(dict.fromkeys([gid, *groups])), entry.home or "/")


def _find_user(name: str, passwd: bytes) -> _Entry | None:
    number = int(name) if _is_number(name) else 0 if not name else None
    for entry in _users(passwd):
        if entry.uid == number if number is not None else entry.name == name:
            return entry
    return _Entry("", 0, 0, "/") if not name else None


def _group_id(name: str, group: bytes) -> int | None:
    if _is_number(name):
        return _checked_id(name)
    return next((number for found, number, _ in _groups(group) if found == name), None)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _checked_id(text: str) -> int:
    # A uid beyond 31 bits would wrap to another user, 0 included (CVE-2024-40635).
    if len(text) > 10 or (number := int(text)) > MAX_ID:
        raise InvalidParameter(f"uids and gids must be in range 0-{MAX_ID}")
    return number


def _lines(data: bytes) -> Iterator[list[str]]:
    for line in data.split(b"\n"):
        text = line.strip().decode(errors="replace")
        if text and not text.startswith("#"):
            yield text.split(":")


def _users(passwd: bytes) -> Iterator[_Entry]:
    """Entries of passwd(5); malformed and out-of-range ones are passed over."""
    for fields in _lines(passwd):
        if len(fields) >= 4 and _is_id(fields[2]) and _is_id(fields[3]):
            home = fields[5] if len(fields) > 5 else ""
            yield _Entry(fields[0], int(fields[2]), int(fields[3]), home)


def _groups(group: bytes) -> Iterator[tuple[str, int, list[str]]]:
    """Entries of group(5) as (name, id, members)."""
    for fields in _lines(group):
        if len(fields) >= 3 and _is_id(fields[2]):
            yield fields[0], int(fields[2]), fields[3].split(",") if len(fields) > 3 else []


def _is_id(text: str) -> bool:
    return _is_number(text) and len(text) <= 10 and int(text) <= MAX_ID
