"""The jobs of this package that run in worker processes (signature: see `workers.nursery`).

Paths in `params` are the engine's own, below its root; names from archives never become paths.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

from corten.digest import from_hex
from corten.linux.files import read_pieces, write_all
from corten.snapshots.archive import TreeArchiver
from corten.snapshots.arrival import arriving
from corten.snapshots.buffer import Buffer
from corten.snapshots.compress import new_packer
from corten.snapshots.decompress import Limits, decompressed
from corten.snapshots.erofs import unpack as erofs
from corten.snapshots.errors import BadArchive
from corten.snapshots.estargz import write_stargz
from corten.snapshots.extract import ExtractOptions, Extractor
from corten.snapshots.tar_reader import TarReader
from corten.snapshots.tar_writer import TarWriter
from corten.snapshots.workers.nursery import Params, Report

_REPORT_EVERY = 4 << 20


def unpack(params: Params, fds: list[int], report: Report) -> Params:
    """fds: source stream, target directory. Unpacks an image layer; answers diff_id, size, entries.

    params: limits (fields of Limits); arriving (the source's size, if it is a file that is still being
    written; a third fd then tells how far it has got, see `arrival`), identified (somebody else computes the
    diff id; ours is ""). Progress: {"read": compressed bytes so far}.
    """
    os.umask(0)
    plain = None if params.get("identified") else hashlib.sha256()
    with Extractor(fds[1], ExtractOptions(whiteouts=True)) as extractor:
        done = extractor.extract(TarReader(_layer_content(params, fds, report, plain)))
    diff_id = "" if plain is None else from_hex(plain.hexdigest())
    return {"diff_id": diff_id, "size": done.size, "entries": done.entries}


def index(params: Params, fds: list[int], report: Report) -> Params:
    """As `unpack`, but into the files of an EROFS layer."""
    os.umask(0)
    plain = hashlib.sha256()
    done = erofs.unpack(_layer_content(params, fds, report, plain), fds[1])
    return {"diff_id": from_hex(plain.hexdigest()), "size": done.size, "entries": done.entries}


def index_tar(params: Params, fds: list[int], report: Report) -> Params:
    """fds: directory of an EROFS layer that has its tar already. Makes the rest; answers size, entries."""
    os.umask(0)
    done = erofs.index_tar(fds[0])
    return {"size": done.size, "entries": done.entries}


def tar(params: Params, fds: list[int], report: Report) -> Params:
    """fds: directory[, output]. Writes the tree as tar; answers diff_id, size. Without output only hashes.

    params: overlay (deletions as image layers have them).
    """
    output = partial(write_all, fds[1]) if len(fds) > 1 else None
    digest, size = tar_of(fds[0], output, overlay=bool(params.get("overlay")))
    return {"diff_id": digest, "size": size}


def layer(params: Params, fds: list[int], report: Report) -> Params:
    """fds: a layer's directory or its tar, output. Writes it as tar; answers diff_id."""
    return {"diff_id": _write_layer(fds[0], partial(write_all, fds[1]))}


def _write_layer(source: int, output: Callable[[bytes | bytearray], None]) -> str:
    if stat.S_ISDIR(os.fstat(source).st_mode):
        return tar_of(source, output, overlay=True)[0]
    plain = hashlib.sha256()
    for data in _hashed(read_pieces(source), plain):
        output(data)
    return from_hex(plain.hexdigest())


def compress(params: Params, fds: list[int], report: Report) -> Params:
    """fds: a layer's directory or its tar, output. Writes it as compressed tar, always the same bytes.

    `kind`, `level`: see `new_packer`. Answers diff_id (of the tar), digest and length (of what was written).
    """
    level = params["level"]
    packer = new_packer(str(params["kind"]), level if isinstance(level, int) else None)
    packed = hashlib.sha256()
    length = 0

    def pack(data: bytes) -> None:
        nonlocal length
        length += len(data)
        packed.update(data)
        write_all(fds[1], data)

    diff_id = _write_layer(fds[0], lambda data: pack(packer.compress(data)))
    pack(packer.flush())
    return {"diff_id": diff_id, "digest": from_hex(packed.hexdigest()), "length": length}


def stargz(params: Params, fds: list[int], report: Report) -> Params:
    """fds: a layer's tar, output. Writes it as eStargz; answers `Stargz`, and `source`, the tar's digest."""
    level = params["level"]
    plain = hashlib.sha256()
    written = write_stargz(
        _hashed(read_pieces(fds[0]), plain),
        partial(write_all, fds[1]),
        level if isinstance(level, int) else None,
    )
    return {**dataclasses.asdict(written), "source": from_hex(plain.hexdigest())}


def tar_of(directory: int, output: Callable[[bytearray], None] | None, *, overlay: bool) -> tuple[str, int]:
    """The digest of the tree's tar stream and its bytes of file content; the stream goes to `output`."""
    plain = hashlib.sha256()

    def emit(data: bytearray) -> None:
        plain.update(data)
        if output is not None:
            output(data)

    buffer = Buffer(emit)
    writer = TarWriter(buffer.write)
    archiver = TreeArchiver(writer, overlay=overlay)
    archiver.add_tree(directory)
    writer.close()
    buffer.flush()
    return from_hex(plain.hexdigest()), archiver.size


def copy_tree(params: Params, fds: list[int], report: Report) -> Params:
    """fds: source directory, target directory. Copies a tree with all that travels, in overlayfs' format."""
    read_end, write_end = os.pipe()
    os.umask(0)
    # A second process writes what this one reads: both ends of the same format, nothing of its own to trust.
    child = os.fork()
    if child == 0:
        os.close(read_end)
        code = 1
        try:
            tar_of(fds[0], partial(write_all, write_end), overlay=True)
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    with Extractor(fds[1], ExtractOptions(whiteouts=True)) as extractor:
        done = extractor.extract(TarReader(read_pieces(read_end)))
    os.close(read_end)
    _, status = os.waitpid(child, 0)
    if status:
        raise BadArchive("copying the container's changes failed")
    return {"size": done.size, "entries": done.entries}


def _limits(params: Params) -> Limits:
    given = params.get("limits")
    return Limits(**given) if isinstance(given, dict) else Limits()


def _layer_content(
    params: Params, fds: list[int], report: Report, plain: hashlib._Hash | None
) -> Iterator[bytes]:
    """The tar of a layer that is being unpacked, hashed on its way."""
    size = params.get("arriving")
    chunks = arriving(fds[0], size, fds[2]) if isinstance(size, int) else read_pieces(fds[0])
    content = decompressed(_reported(chunks, report), _limits(params))
    return content if plain is None else _hashed(content, plain)


def _reported(chunks: Iterator[bytes], report: Report) -> Iterator[bytes]:
    total = reported = 0
    for data in chunks:
        total += len(data)
        if total - reported >= _REPORT_EVERY:
            reported = total
            report({"read": total})
        yield data
    if total != reported:
        report({"read": total})


def _hashed(chunks: Iterator[bytes], into: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        into.update(chunk)
        yield chunk
