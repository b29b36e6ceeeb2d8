"""The digest of a layer of links, without reading again what was read for the layer before it.

Of a context that is kept (`treeindex`) most files are what they were. What the tar of each of them consists
of, header and content, lies one after another in a file beside the index; the tar of the next layer is made
of stretches of that file, and of the few files that are new. What was recorded counts for an entry only if
all attributes and the digest of its content are those in the index, which names content by sha256.
"""

from __future__ import annotations

import fcntl
import hashlib
import marshal
import os
import stat
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from corten.builder.ops.tree import open_below
from corten.builder.treeindex import Known, TreeIndex
from corten.digest import Digest, from_hex
from corten.linux.files import write_all
from corten.snapshots.archive import TreeArchiver
from corten.snapshots.buffer import Buffer
from corten.snapshots.tar_writer import TarWriter

_RECORDED = 64 << 10  # bytes of a file; a larger one is quick to read for what is in it
_PIECE = 1 << 20

Recorded: TypeAlias = "tuple[Known, int, int]"
"""What the entry was, and the place and length of its blocks."""


@dataclass(frozen=True, slots=True)
class LinkedTree:
    """All below `place` of an upperdir is linked from all below `source` of a directory that has an index."""

    source: str
    place: str


@dataclass(frozen=True, slots=True)
class LayerOfLinks:
    """A layer's digest, and its bytes of content."""

    diff_id: Digest
    size: int


def digest_of_links(
    beginning: bytearray, source: int, linked: LinkedTree, index_path: str
) -> LayerOfLinks | None:
    """The layer, as `snapshots.jobs.tar_of` finds it; None if it has to.

    beginning: of its tar, all before what is linked. The layer need not be there: what is read is read in
    the directory `source`. Beside the index, `<index>.blocks` and `<index>.places` are brought up to date.
    """
    files = _below(TreeIndex.load(index_path).files, linked.source)
    if files is None:
        return None
    blocks = os.open(f"{index_path}.blocks", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    directory = open_below(source, linked.source)
    try:
        fcntl.flock(blocks, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if set(os.listdir(directory)) != {path for path in files if "/" not in path}:
            return None
        digest = hashlib.sha256()
        buffer = Buffer(digest.update)
        writer = TarWriter(buffer.write)
        writer.add_blocks(beginning)
        record = _Record(blocks, f"{index_path}.places", linked)
        archiver = _Archiver(writer, directory, record)
        archiver.add_files(linked.place, files)
        writer.close()
        buffer.flush()
        record.save()
        return LayerOfLinks(from_hex(digest.hexdigest()), archiver.size)
    except BlockingIOError:  # another step of the build has the lock
        return None
    finally:
        os.close(directory)
        os.close(blocks)


def _below(files: dict[str, Known], source: str) -> dict[str, Known] | None:
    """What the index knows below a directory, in the order of a tar; None if names share files."""
    prefix = f"{source}/" if source else ""
    found = {path[len(prefix) :]: known for path, known in files.items() if path and path.startswith(prefix)}
    if any(attributes[5] and stat.S_ISREG(attributes[0]) for attributes, _ in found.values()):
        return None
    return found


class _Record:
    """What was recorded, and what comes to it. Who holds the lock of `blocks` has it for himself."""

    def __init__(self, blocks: int, places: str, linked: LinkedTree) -> None:
        self._blocks = blocks
        self._places = places
        self._head = (linked.source, linked.place)
        self._old: dict[str, Recorded] = {}
        self._new: dict[str, Recorded] = {}
        self._end = os.fstat(blocks).st_size
        self._load()
        os.lseek(blocks, self._end, os.SEEK_SET)
        self._unwritten = Buffer(partial(write_all, blocks))

    def _load(self) -> None:
        try:
            with open(self._places, "rb") as file:
                # Written by `save`, where only the engine can write.
                head, entries = marshal.loads(file.read())  # noqa: S302
        except (FileNotFoundError, EOFError, ValueError):
            head, entries = None, {}
        live = sum(length for _, _, length in entries.values())
        whole = all(place + length <= self._end for _, place, length in entries.values())
        if head == self._head and whole and self._end <= 2 * live:
            self._old = entries
        else:  # of another tree, or most of it is of the past, or somebody has cut it
            if head is not None:
                os.unlink(self._places)
            os.ftruncate(self._blocks, 0)
            self._end = 0

    def find(self, path: str, known: Known) -> tuple[int, int] | None:
        """Place and length of the blocks that stand for the entry."""
        recorded = self._old.get(path)
        if recorded is None or recorded[0] != known:
            return None
        self._new[path] = recorded
        return recorded[1:]

    def add(self, path: str, known: Known, data: bytearray) -> None:
        """What the entry's blocks are."""
        self._new[path] = (known, self._end, len(data))
        self._end += len(data)
        self._unwritten.write(data)

    def read(self, place: int, length: int) -> bytes:
        """Blocks that were found."""
        return os.pread(self._blocks, length, place)

    def save(self) -> None:
        """Let the next one find what is here now."""
        self._unwritten.flush()
        with open(f"{self._places}.new", "wb") as file:
            file.write(marshal.dumps((self._head, self._new)))
        os.rename(f"{self._places}.new", self._places)


class _Archiver(TreeArchiver):
    """Writes what is in a directory, of which something may be recorded."""

    def __init__(self, writer: TarWriter, directory: int, record: _Record) -> None:
        super().__init__(writer, overlay=True)
        self._tar = writer
        self._source = directory
        self._record = record
        self._stretch = (0, 0)
        self._directory_open = ("", -1)

    def add_files(self, place: str, files: dict[str, Known]) -> None:
        """`files`, which are all that is in the directory, under names that begin with `place`."""
        prefix = os.fsencode(place) + b"/" if place else b""
        for path, (attributes, digest) in files.items():
            # A directory's digest is that of what is below it, which comes by itself.
            known = (attributes, b"") if stat.S_ISDIR(attributes[0]) else (attributes, digest)
            found = self._record.find(path, known)
            if found is not None:
                self._recorded(*found)
                if stat.S_ISREG(attributes[0]):
                    self.size += attributes[3]
            else:
                self._flush()
                self._fresh(path, known, prefix + os.fsencode(path))
        self._flush()
        if self._directory_open[1] >= 0:
            os.close(self._directory_open[1])

    def _recorded(self, place: int, length: int) -> None:
        start, end = self._stretch
        if place != end:
            self._flush()
            start = place
        self._stretch = (start, place + length)

    def _flush(self) -> None:
        """Write the stretch that was found."""
        start, end = self._stretch
        for place in range(start, end, _PIECE):
            self._tar.add_blocks(self._record.read(place, min(_PIECE, end - place)))
        self._stretch = (0, 0)

    def _fresh(self, path: str, known: Known, name: bytes) -> None:
        above, _, base = path.rpartition("/")
        parent = self._parent(above)
        if stat.S_ISREG(known[0][0]):
            size = os.stat(base, dir_fd=parent, follow_symlinks=False).st_size
            if size > _RECORDED or size != known[0][3]:  # what a client says need not be what it sends
                self.add(parent, os.fsencode(base), name)
                return
        blocks = bytearray()
        writer = TarWriter(blocks.extend)
        single = TreeArchiver(writer, overlay=True)
        single.add(parent, os.fsencode(base), name, alone=True)
        writer.finish()
        self.size += single.size
        self._tar.add_blocks(blocks)
        self._record.add(path, known, blocks)

    def _parent(self, path: str) -> int:
        """The directory, open; as long as it is the one that is asked for."""
        known, fd = self._directory_open
        if fd < 0 or known != path:
            if fd >= 0:
                os.close(fd)
            self._directory_open = (path, open_below(self._source, path))
        return self._directory_open[1]
