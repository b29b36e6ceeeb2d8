"""Reading files of a file system that somebody hostile may have made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from corten.builder.attest.sbom.packages import TooMuch
from corten.linux.openat2 import open_file_in_root

MAX_FILE = 64 << 20
_READ = 1 << 20


def read(root: int, path: str, limit: int = MAX_FILE) -> bytes | None:
    """A regular file's content, links resolved inside the root; None if there is none. Raises TooMuch."""
    try:
        fd = open_file_in_root(root, path)
    except OSError:
        return None
    return _content(fd, path, limit)


def read_entry(directory: int, name: str, path: str, limit: int = MAX_FILE) -> bytes | None:
    """A file of a directory that is open, unless it is a link or no regular file. Raises TooMuch."""
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            return None  # to open a device is enough for many drivers to act
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None
    return _content(fd, path, limit)


def _content(fd: int, path: str, limit: int) -> bytes | None:
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        found = bytearray()
        while data := os.read(fd, _READ):
            found += data
            if len(found) > limit:
                raise TooMuch(f"{path} is larger than the {limit} bytes that an SBOM is made of")
        return bytes(found)
    finally:
        os.close(fd)


def stanzas(data: bytes) -> Iterator[dict[str, str]]:
    """Paragraphs of `Key: value` lines (RFC 822 as Debian and Python have it), keys in lower case.

    Of a value that goes on in further lines, the first one.
    """
    found: dict[str, str] = {}
    for raw in data.split(b"\n"):
        line = raw.rstrip(b"\r")
        if not line:
            if found:
                yield found
            found = {}
            continue
        if line[:1] in (b" ", b"\t"):
            continue
        key, separator, value = line.partition(b":")
        if separator:
            found.setdefault(
                key.decode(errors="replace").strip().lower(), value.decode(errors="replace").strip()
            )
    if found:
        yield found
