"""Making a layer's files in one pass: the tar is written down and indexed while it is hashed."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterable, Iterator
from typing import cast

from corten.linux.files import pwrite_all, write_all
from corten.snapshots.erofs.index import BLOCK, MAX_BLOCKS, Layout
from corten.snapshots.erofs.tree import Counted, Node, Tree
from corten.snapshots.errors import TooLarge
from corten.snapshots.tar_reader import TarReader

TAR = "layer.tar"
INDEX = "index"
SPARSE = "sparse"
TREE = "tree"

_COPY = 1 << 20
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(chunks: Iterable[bytes], target: int) -> Counted:
    """Make the files of a layer in the empty directory `target`. Raises BadArchive, OSError."""
    spool = os.open(TAR, _NEW, 0o600, dir_fd=target)
    try:
        return _index(_written(chunks, spool), spool, target)
    finally:
        os.close(spool)


def index_tar(target: int) -> Counted:
    """Make the other files of the layer in the directory `target`, where its tar is. Raises as `unpack`."""
    spool = os.open(TAR, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
    try:
        if os.fstat(spool).st_size == 0:
            return _index([], spool, target)
        # Mapped, so that of all the content only the pages with headers are looked at.
        content = mmap.mmap(spool, 0, prot=mmap.PROT_READ)
        return _index([cast("bytes", content)], spool, target)
    finally:
        os.close(spool)


def _index(chunks: Iterable[bytes], spool: int, target: int) -> Counted:
    tree = Tree()
    reader = TarReader(chunks)
    for entry in reader:
        tree.add(entry, reader.offset)
    layout = Layout(tree.root)
    tar_blocks = -(-os.fstat(spool).st_size // BLOCK)
    offsets = _copy_sparse(layout.sparse, spool, target) if layout.sparse else []
    with os.fdopen(os.open(INDEX, _NEW, 0o600, dir_fd=target), "wb") as index:
        index.write(layout.pack(tar_blocks, offsets))
    os.mkdir(TREE, 0o755, dir_fd=target)
    return tree.done


def _written(chunks: Iterable[bytes], fd: int) -> Iterator[bytes]:
    for chunk in chunks:
        write_all(fd, chunk)
        yield chunk


def _copy_sparse(files: list[Node], spool: int, target: int) -> list[int]:
    """Put the pieces of sparse files where they belong; returns where each file begins, and the end."""
    offsets = [0]
    for node in files:
        offsets.append(offsets[-1] + -(-node.size // BLOCK) * BLOCK)
        if offsets[-1] // BLOCK > MAX_BLOCKS:
            raise TooLarge("archive holds too large sparse files")
    output = os.open(SPARSE, _NEW, 0o600, dir_fd=target)
    try:
        os.ftruncate(output, offsets[-1])
        for node, begin in zip(files, offsets, strict=False):
            at = node.offset
            for offset, length in node.sparse or ():
                _copy(spool, at, output, begin + offset, length)
                at += length
    finally:
        os.close(output)
    return offsets


def _copy(source: int, at: int, target: int, to: int, length: int) -> None:
    while length:
        data = os.pread(source, min(length, _COPY), at)
        if not data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        pwrite_all(target, data, to)
        at, to, length = at + len(data), to + len(data), length - len(data)
