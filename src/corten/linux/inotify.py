"""inotify(7): being told that files grow, move or vanish."""

from __future__ import annotations

import ctypes
import os
import struct

from corten.linux.syscalls import check, libc

IN_MODIFY = 0x00000002
IN_ATTRIB = 0x00000004
IN_CLOSE_WRITE = 0x00000008
IN_MOVED_FROM = 0x00000040
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE = 0x00000200
IN_DELETE_SELF = 0x00000400
IN_MOVE_SELF = 0x00000800

_EVENT = struct.Struct("=iIII")  # wd, mask, cookie, length of the name that follows

_init1 = libc.inotify_init1
_init1.argtypes = [ctypes.c_int]
_add_watch = libc.inotify_add_watch
_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
_rm_watch = libc.inotify_rm_watch
_rm_watch.argtypes = [ctypes.c_int, ctypes.c_int]


class Inotify:
    """A non-blocking inotify instance; `fd` polls readable when events wait."""

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd: int = check(_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")

    def add(self, path: str, mask: int) -> int:
        """Watch `path`; returns the watch descriptor that its events carry."""
        return int(check(_add_watch(self.fd, os.fsencode(path), mask), path))

    def remove(self, watch: int) -> None:
        """Stop watching."""
        check(_rm_watch(self.fd, watch), "inotify_rm_watch")

    def read(self) -> list[tuple[int, int, str]]:
        """All waiting events as (watch descriptor, mask, name); empty if there are none."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return []
        events, offset = [], 0
        while offset < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            events.append((watch, mask, os.fsdecode(data[offset : offset + length].rstrip(b"\0"))))
            offset += length
        return events

    def close(self) -> None:
        """Close the instance; -1 afterwards, because fd numbers are used again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
