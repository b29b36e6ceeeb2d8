"""Finding the sources of a copy below a root."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from corten.builder.patterns import InvalidPattern, Pattern, component_regex, has_wildcards, unescaped
from corten.errors import InvalidParameter
from corten.linux.openat2 import open_in_root

_DIR = os.O_RDONLY | os.O_DIRECTORY


def find_sources(rootfd: int, pattern: str, *, double_star: bool = False, follow: bool = True) -> list[str]:
    """Paths below `rootfd` that match an absolute pattern, without leading slash, sorted; "" is the root.

    Symlinks on the way are followed inside the root. A pattern without wildcards is found if it exists,
    a dangling symlink is not (without `follow` it is). `double_star`: `**` stands for any directories.
    Raises InvalidParameter for a malformed pattern.
    """
    components = [part for part in pattern.split("/") if part not in ("", ".")]
    try:
        if double_star and "**" in components:
            return sorted(_find_deep(rootfd, components))
        return sorted(_find(rootfd, "", components, follow))
    except InvalidPattern:
        raise InvalidParameter(f"syntax error in pattern: {pattern}") from None


def _find(rootfd: int, path: str, components: list[str], follow: bool) -> Iterator[str]:
    if not components:
        if _exists(rootfd, path, follow):
            yield path
        return
    component, rest = components[0], components[1:]
    if not has_wildcards(component):
        yield from _find(rootfd, _joined(path, unescaped(component)), rest, follow)
        return
    matcher = component_regex(component)
    for name in _names(rootfd, path):
        if matcher.fullmatch(name):
            yield from _find(rootfd, _joined(path, name), rest, follow)


def _find_deep(rootfd: int, components: list[str]) -> Iterator[str]:
    """Walks everything below the literal beginning of the pattern; symlinks are not walked through."""
    matcher = Pattern("/".join(components))
    literal = 0
    while not has_wildcards(components[literal]):
        literal += 1
    waiting = ["/".join(unescaped(part) for part in components[:literal])]
    while waiting:
        directory = waiting.pop()
        for name in _names(rootfd, directory):
            path = _joined(directory, name)
            if matcher.matches(path.split("/")):
                yield path
            waiting.append(path)


def _names(rootfd: int, path: str) -> list[str]:
    try:
        fd = open_in_root(rootfd, path or ".", _DIR | (os.O_NOFOLLOW if path else 0))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return []  # a symlink: what it leads to is found under its own name
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _exists(rootfd: int, path: str, follow: bool) -> bool:
    try:
        os.close(open_in_root(rootfd, path or ".", os.O_PATH | (0 if follow else os.O_NOFOLLOW)))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return False
    return True


def _joined(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name
