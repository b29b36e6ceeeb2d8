"""Paths and file modes as the archive endpoints (`docker cp`) speak of them.

A trailing slash says "it must be a directory", a trailing "/." says "what is in it": both outlive the
cleaning of a path. Modes are those of Go's os.FileMode.

Source: Docker's API reference of /containers/{id}/archive and of the header X-Docker-Container-Path-Stat;
Go's documentation of io/fs.FileMode and path/filepath.Base.
"""

from __future__ import annotations

import stat

MODE_DIR = 1 << 31
MODE_SYMLINK = 1 << 27
MODE_DEVICE = 1 << 26

_KINDS = {
    stat.S_IFDIR: MODE_DIR,
    stat.S_IFLNK: MODE_SYMLINK,
    stat.S_IFBLK: MODE_DEVICE,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: MODE_DEVICE | 1 << 21,
}
_SPECIAL = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


def go_mode(mode: int) -> int:
    """st_mode as Go writes it."""
    special = sum(theirs for ours, theirs in _SPECIAL if mode & ours)
    return _KINDS.get(stat.S_IFMT(mode), 0) | special | mode & 0o777


def base(path: str) -> str:
    """The last part of a path: "." of an empty one, "/" of the root; trailing slashes do not count."""
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def split(path: str) -> tuple[str, str]:
    """(directory, last part) of the cleaned path, a trailing "/." being a last part."""
    cleaned = clean(path)
    if base(path) == ".":
        return cleaned, "."
    directory, slash, _ = cleaned.rpartition("/")
    return directory or slash or ".", base(cleaned)


def clean(path: str) -> str:
    """Without ".", empty and, as far as they can be resolved, ".." parts; "." if nothing is left."""
    absolute = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".." or not absolute:
            parts.append(part)
    return ("/" if absolute else "") + "/".join(parts) or "."


def keep_ending(cleaned: str, original: str) -> str:
    """`cleaned` with the "/" or "/." that `original` ends in."""
    if base(original) == "." and base(cleaned) != ".":
        cleaned += "." if cleaned.endswith("/") else "/."
    if original.endswith("/") and not cleaned.endswith("/"):
        cleaned += "/"
    return cleaned


def inside(path: str) -> str:
    """A path of a container, which is always meant from its root."""
    return keep_ending(clean(f"/{path}"), path)
