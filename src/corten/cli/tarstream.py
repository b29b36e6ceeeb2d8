"""Local files as the entries of a tar stream, made while it is sent."""

from __future__ import annotations

import os
import stat
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

END = b"\0" * 1024
_CHUNK_BYTES = 1 << 20
_CAPABILITY = "security.capability"
_TYPES = {
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


class TarStream:
    """Makes entries; knows hard links between them.

    attributes: owners and capabilities go along (a build context has none).
    """

    def __init__(self, *, attributes: bool) -> None:
        self._attributes = attributes
        self._links: dict[tuple[int, int], str] = {}

    def entry(self, path: str, name: str) -> Iterator[bytes]:
        """The file `path` under `name`, without what is below it; nothing for sockets. Raises OSError."""
        info = tarfile.TarInfo(name)
        found = os.lstat(path)
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFSOCK:
            return  # cannot be archived; Docker leaves them out too
        info.mode = stat.S_IMODE(found.st_mode)
        info.mtime = int(found.st_mtime)
        info.type = _TYPES.get(kind, tarfile.REGTYPE)
        if self._attributes:
            info.uid, info.gid = found.st_uid, found.st_gid
        key = (found.st_dev, found.st_ino)
        if kind == stat.S_IFLNK:
            info.linkname = os.readlink(path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            info.devmajor, info.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
        elif kind == stat.S_IFREG and found.st_nlink > 1 and key in self._links:
            info.type, info.linkname = tarfile.LNKTYPE, self._links[key]
        elif kind == stat.S_IFREG:
            self._links[key] = name
            info.size = found.st_size
            yield from self._file(path, info)
            return
        yield head(info)

    def _file(self, path: str, info: tarfile.TarInfo) -> Iterator[bytes]:
        """A regular file: exactly as many bytes as its head promises, even if it changes meanwhile."""
        with open(path, "rb", buffering=0) as f:
            if self._attributes and (value := _capability(f.fileno())):
                info.pax_headers = {f"SCHILY.xattr.{_CAPABILITY}": value}
            yield head(info)
            left = info.size
            while left > 0:
                data = f.read(min(_CHUNK_BYTES, left)) or b"\0" * min(_CHUNK_BYTES, left)
                left -= len(data)
                yield data
        yield b"\0" * (-info.size % 512)


def single_file(name: str, data: bytes) -> Iterator[bytes]:
    """The entry of one file made of bytes."""
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o600, len(data)
    yield head(info)
    yield data
    yield b"\0" * (-len(data) % 512)


def head(info: tarfile.TarInfo) -> bytes:
    """An entry's header blocks."""
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _capability(fd: int) -> str:
    try:
        return os.getxattr(fd, _CAPABILITY).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
