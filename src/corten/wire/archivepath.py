"""Paths as the archive endpoints (`docker cp`) speak of them.

A trailing slash says "it must be a directory", a trailing "/." says "what is in it": both outlive the
cleaning of a path.

Source: Docker's API reference of /containers/{id}/archive and of the header X-Docker-Container-Path-Stat;
Go's documentation of path/filepath.Base.
"""

from __future__ import annotations


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
