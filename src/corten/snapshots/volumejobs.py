"""Jobs on the files of one volume, for worker processes (signature: see `workers.nursery`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

from corten.linux.files import read_pieces, write_all
from corten.linux.syncfs import syncfs
from corten.snapshots.archive import TreeArchiver
from corten.snapshots.buffer import Buffer
from corten.snapshots.decompress import decompressed
from corten.snapshots.extract import ExtractOptions, Extractor
from corten.snapshots.tar_reader import TarReader
from corten.snapshots.tar_writer import TarWriter

Params: TypeAlias = "dict[str, Any]"
Report: TypeAlias = Callable[[Params], None]


def write_tar(params: Params, fds: list[int], report: Report) -> Params:
    """fds: output, directory. Writes all that is in the directory as a tar. Progress, once: it begins."""
    report({})
    buffer = Buffer(lambda data: write_all(fds[0], data))
    writer = TarWriter(buffer.write)
    TreeArchiver(writer).add_tree(fds[1], b".")
    writer.close()
    buffer.flush()
    return {}


def read_tar(params: Params, fds: list[int], report: Report) -> Params:
    """fds: a tar, plain or compressed; an empty directory. Unpacks it there, and on the disk.

    Raises InvalidParameter for what is no tar, OSError.
    """
    os.umask(0)
    directory = os.dup(fds[1])
    with Extractor(directory, ExtractOptions(owner=None, keep_types=True)) as extractor:
        extractor.extract(TarReader(decompressed(read_pieces(fds[0]))))
        syncfs(fds[1])
    return {}
