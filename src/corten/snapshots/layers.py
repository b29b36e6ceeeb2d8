"""Read-only layers, one per diff id, shared by all images that have it."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from corten.digest import Digest, DigestMismatch, digest_of, hex_of
from corten.errors import NotFound
from corten.linux.deletion import delete_tree
from corten.linux.files import spread_directories
from corten.metadata import Ledger
from corten.snapshots import jobs
from corten.snapshots.arrival import Arrival
from corten.snapshots.decompress import Limits
from corten.snapshots.sinks import Erofs, Extract, Sink
from corten.snapshots.uppers import is_small
from corten.snapshots.workers import Job, WorkerPool

_NAME_LENGTH = 24
EMPTY = "empty"
NOTHING = digest_of(bytes(1024))
"""The diff id of a tar with nothing in it: the layer of a command that changed nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLayer:
    """A verified layer that is in nobody's ledger yet, at `path` in <root>/tmp. Adopt or drop it."""

    diff_id: Digest
    size: int
    path: str


class Hashed(NamedTuple):
    """What the tar of a tree is: its digest, and its bytes of file content."""

    diff_id: Digest
    size: int


class LayerStore(Protocol):
    """Where layers live and how they come and go.

    Making one is slow and blocks (any thread); it then exists as a NewLayer until `adopt` gives it its
    place (event loop's thread). Who counts on a layer that no image names yet holds a pin.
    """

    def directory(self, diff_id: Digest) -> str:
        """The lowerdir for overlayfs. Raises NotFound."""

    def source(self, diff_id: Digest) -> str:
        """What the layer's tar is made of, for `write_tar_of`: a directory or a tar. Raises NotFound."""

    def retire(self, diff_id: Digest) -> str:
        """The layer's own directory, to be moved away: its row goes in the same breath. Raises NotFound."""

    def has(self, diff_id: Digest) -> bool:
        """Whether the layer is here (event loop's thread)."""

    def unpack(
        self,
        source_fd: int,
        expected: Digest | None,
        on_progress: Callable[[int], None] | None = None,
        on_start: Callable[[Job], None] | None = None,
        arrival: Arrival | None = None,
    ) -> NewLayer:
        """Unpack a (compressed) layer tar read from `source_fd`; progress is in bytes read of it.

        arrival: the source is a file that is still being written. As that waits for others, it takes no
        slot of the pool; the caller bounds how many there are.

        Raises DigestMismatch if the content is not `expected`, BadArchive, OSError.
        """

    @property
    def keeps_tars(self) -> bool:
        """Whether new layers keep their tar as it is: `from_tar` makes them without a copy."""

    def from_tar(self, path: str, diff_id: Digest) -> NewLayer:
        """Make a layer of a plain tar whose digest has been verified; the file becomes part of it.

        Raises BadArchive, OSError.
        """

    def canonical(self, layer: NewLayer) -> NewLayer:
        """The same tree under the digest of the tar that `write_tar` makes of it.

        For layers whose own archive is not kept: their diff id has to be one that can be made again.
        """

    def from_upper(
        self,
        upper: str,
        *,
        keep: bool,
        clean: Callable[[str], None] | None = None,
        hashed: Hashed | None = None,
    ) -> NewLayer:
        """Make a layer of an overlay upperdir: by renaming it, or with `keep` by copying it.

        clean: called with the copy's path, to take out what does not belong into the layer. hashed: what its
        tar is known to be.
        """

    def adopt(self, layer: NewLayer) -> None:
        """Give the layer its place and its row; the same layer twice is one."""

    def drop(self, layer: NewLayer) -> None:
        """Remove a layer that was not adopted."""

    def write_tar(self, diff_id: Digest, output_fd: int) -> None:
        """Write the layer's tar, whose digest is the diff id. Raises DigestMismatch if it no longer is."""

    def pin(self, diff_id: Digest) -> None:
        """Keep the layer from garbage collection until `unpin`, in this process."""

    def unpin(self, diff_id: Digest) -> None:
        """Give up one pin."""

    @property
    def pinned(self) -> frozenset[Digest]:
        """The layers that somebody in this process counts on."""


class DirectoryLayers:
    """A directory for each layer. New ones are filled as `form` says ("extract", "erofs"), others stay."""

    def __init__(
        self,
        root: str,
        ledger: Ledger,
        workers: WorkerPool,
        limits: Limits | None = None,
        *,
        form: str = "extract",
    ) -> None:
        self._layers = os.path.join(root, "layers")
        self._tmp = os.path.join(root, "tmp")
        self._ledger = ledger
        self._workers = workers
        self._limits = limits or Limits()
        self._pins: dict[Digest, int] = {}
        self.retired = 0
        """How many layers have gone; what was said about directories holds until it changes."""
        self.boot_id = _boot_id()
        for path in (self._layers, self._tmp):
            os.makedirs(path, mode=0o700, exist_ok=True)
        spread_directories(self._tmp)
        os.makedirs(os.path.join(self._layers, EMPTY), mode=0o755, exist_ok=True)
        self._extract = Extract()
        self._erofs = Erofs(self._layers)
        self._sink: Sink = self._erofs if form == "erofs" else self._extract

    def close(self) -> None:
        """Let go of what is mounted; containers keep what they use."""
        self._erofs.close()

    def _sink_of(self, path: str) -> Sink:
        return self._erofs if path.endswith(self._erofs.suffix) else self._extract

    @property
    def root(self) -> str:
        """The directory that holds all layers."""
        return self._layers

    @property
    def empty(self) -> str:
        """A directory with nothing in it, for images without layers."""
        return os.path.join(self._layers, EMPTY)

    def directory(self, diff_id: Digest) -> str:
        """See LayerStore."""
        path = self._path(diff_id)
        return self._sink_of(path).lower(path)

    def source(self, diff_id: Digest) -> str:
        """See LayerStore."""
        path = self._path(diff_id)
        return self._sink_of(path).source(path)

    def tar(self, diff_id: Digest) -> str | None:
        """The layer's tar, if it is kept as one. Raises NotFound."""
        source, path = self.source(diff_id), self._path(diff_id)
        return source if source != path else None

    def tar_in(self, directory: str) -> str | None:
        """The tar that a layer's directory holds, if it is kept as one. Any thread."""
        path = os.path.join(self._layers, directory)
        source = self._sink_of(path).source(path)
        return source if source != path else None

    def retire(self, diff_id: Digest) -> str:
        """See LayerStore."""
        path = self._path(diff_id)
        self._sink_of(path).release(path)
        self.retired += 1
        return path

    def _path(self, diff_id: Digest) -> str:
        row = self._ledger.query_one("SELECT directory FROM layers WHERE diff_id = ?", (diff_id,))
        if row is None:
            raise NotFound(f"layer {diff_id} does not exist")
        return os.path.join(self._layers, row["directory"])

    def has(self, diff_id: Digest) -> bool:
        """See LayerStore."""
        return self._ledger.query_one("SELECT 1 FROM layers WHERE diff_id = ?", (diff_id,)) is not None

    def unpack(
        self,
        source_fd: int,
        expected: Digest | None,
        on_progress: Callable[[int], None] | None = None,
        on_start: Callable[[Job], None] | None = None,
        arrival: Arrival | None = None,
    ) -> NewLayer:
        """See LayerStore."""
        params, fds = _params(self._limits), [source_fd]
        path = self._new_directory(self._sink.suffix)
        target = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fds.append(target)
            if arrival is not None:
                params |= {"arriving": arrival.size, "identified": arrival.is_plain}
                fds.append(arrival.fd)
            job = self._workers.start(self._sink.job, params, fds, bounded=arrival is None)
            if on_start is not None:
                on_start(job)
            answer = job.wait(lambda m: on_progress(int(str(m["read"]))) if on_progress else None)
            diff_id = Digest(str(answer["diff_id"]))
            if arrival is not None and arrival.is_plain:
                assert arrival.digest is not None  # all of it has been read, so all was there
                diff_id = arrival.digest
            if expected is not None and diff_id != expected:
                raise DigestMismatch(expected, diff_id)
        except BaseException:
            _discard(path)
            raise
        finally:
            os.close(target)
        return NewLayer(diff_id=diff_id, size=int(str(answer["size"])), path=path)

    @property
    def keeps_tars(self) -> bool:
        """See LayerStore."""
        return self._sink is self._erofs

    def from_tar(self, path: str, diff_id: Digest) -> NewLayer:
        """See LayerStore."""
        directory = self._new_directory(self._erofs.suffix)
        target = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.rename(path, self._erofs.source(directory))
            answer = self._workers.run("corten.snapshots.jobs:index_tar", {}, [target])
        except BaseException:
            _discard(directory)
            raise
        finally:
            os.close(target)
        return NewLayer(diff_id=diff_id, size=int(str(answer["size"])), path=directory)

    def canonical(self, layer: NewLayer) -> NewLayer:
        """See LayerStore."""
        if self._sink_of(layer.path) is self._erofs:
            return layer  # its archive is kept
        try:
            diff_id, size = self._hash(layer.path)
        except BaseException:
            self.drop(layer)
            raise
        return NewLayer(diff_id=diff_id, size=size, path=layer.path)

    def from_upper(
        self,
        upper: str,
        *,
        keep: bool,
        clean: Callable[[str], None] | None = None,
        hashed: Hashed | None = None,
    ) -> NewLayer:
        """See LayerStore."""
        source = upper
        if keep:
            source = self._new_directory()
            self._copy(upper, source)
        try:
            if keep and clean is not None:
                clean(source)
            diff_id, size = hashed or self._hash(source)
            path = source
            if not keep:
                path = os.path.join(self._tmp, _temporary_name())
                os.rename(upper, path)
        except BaseException:
            if keep:
                _discard(source)
            raise
        return NewLayer(diff_id=diff_id, size=size, path=path)

    def _copy(self, upper: str, target: str) -> None:
        source_fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        target_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._workers.run("corten.snapshots.jobs:copy_tree", {}, [source_fd, target_fd])
        except BaseException:
            _discard(target)
            raise
        finally:
            os.close(source_fd)
            os.close(target_fd)

    def _hash(self, directory: str) -> Hashed:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # A worker costs 2 ms, more than a small tree takes.
            if is_small(directory):
                digest, size = jobs.tar_of(fd, None, overlay=True)
                return Hashed(Digest(digest), size)
            answer = self._workers.run("corten.snapshots.jobs:tar", {"overlay": True}, [fd])
            return Hashed(Digest(str(answer["diff_id"])), int(str(answer["size"])))
        finally:
            os.close(fd)

    def adopt(self, layer: NewLayer) -> None:
        """See LayerStore."""
        if self.has(layer.diff_id):
            self.drop(layer)
            return
        name = hex_of(layer.diff_id)[:_NAME_LENGTH] + self._sink_of(layer.path).suffix
        path = os.path.join(self._layers, name)
        if os.path.lexists(path):
            # Left by a crash between rename and row, and not yet swept.
            os.rename(path, os.path.join(self._tmp, f"trash-{secrets.token_hex(8)}"))
        os.rename(layer.path, path)
        self._ledger.execute(
            "INSERT INTO layers (diff_id, directory, size, created_ns, boot_id) VALUES (?, ?, ?, ?, ?)",
            (layer.diff_id, name, layer.size, time.time_ns(), self.boot_id),
        )

    def drop(self, layer: NewLayer) -> None:
        """See LayerStore."""
        _discard(layer.path)

    def write_tar(self, diff_id: Digest, output_fd: int) -> None:
        """See LayerStore."""
        self.write_tar_of(self.source(diff_id), diff_id, output_fd)

    def write_tar_of(self, source: str, diff_id: Digest, output_fd: int) -> None:
        """As `write_tar`, for any thread: the layer's `source` has been looked up already."""
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            answer = self._workers.run("corten.snapshots.jobs:layer", {}, [fd, output_fd])
        finally:
            os.close(fd)
        if answer["diff_id"] != diff_id:
            raise DigestMismatch(diff_id, str(answer["diff_id"]))

    def compress(
        self,
        source: str,
        diff_id: Digest,
        output_fd: int,
        on_start: Callable[[Job], None],
        *,
        kind: str = "gzip",
        level: int | None = None,
    ) -> tuple[Digest, int]:
        """Write a layer, of which `source` is the directory or the tar, compressed; its digest and length.

        `kind`, `level`: see `new_packer`. For any thread. Raises DigestMismatch.
        """
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            job = self._workers.start(
                "corten.snapshots.jobs:compress", {"kind": kind, "level": level}, [fd, output_fd]
            )
            on_start(job)
            answer = job.wait()
        finally:
            os.close(fd)
        if answer["diff_id"] != diff_id:
            raise DigestMismatch(diff_id, str(answer["diff_id"]))
        return Digest(str(answer["digest"])), int(str(answer["length"]))

    def pin(self, diff_id: Digest) -> None:
        """See LayerStore."""
        self._pins[diff_id] = self._pins.get(diff_id, 0) + 1

    def unpin(self, diff_id: Digest) -> None:
        """See LayerStore."""
        left = self._pins.pop(diff_id) - 1
        if left:
            self._pins[diff_id] = left

    @property
    def pinned(self) -> frozenset[Digest]:
        """See LayerStore."""
        return frozenset(self._pins)

    def unsynced(self) -> list[Digest]:
        """Layers that a power cut could still take: their bytes are in the page cache only."""
        return [
            row["diff_id"]
            for row in self._ledger.query("SELECT diff_id FROM layers WHERE boot_id IS NOT NULL")
        ]

    def mark_synced(self, diff_ids: list[Digest]) -> None:
        """To be called after sync(2), with what `unsynced` said before it."""
        self._ledger.executemany(
            "UPDATE layers SET boot_id = NULL WHERE diff_id = ?", [(d,) for d in diff_ids]
        )

    def doubtful(self) -> list[Digest]:
        """Layers written before a reboot and never synced: they may be torn."""
        rows = self._ledger.query("SELECT diff_id FROM layers WHERE boot_id <> ?", (self.boot_id,))
        return [row["diff_id"] for row in rows]

    def _new_directory(self, suffix: str = "") -> str:
        path = os.path.join(self._tmp, _temporary_name() + suffix)
        os.mkdir(path, 0o755)
        os.chmod(path, 0o755)  # noqa: S103 - whatever the umask: it becomes the root of containers
        return path


def _discard(path: str) -> None:
    # What cannot be removed now stays in <root>/tmp, which is swept at the next start.
    with suppress(OSError):
        delete_tree(path)


def _temporary_name() -> str:
    return f"layer-{secrets.token_hex(8)}"


def _params(limits: Limits) -> dict[str, object]:
    return {
        "limits": {
            "max_bytes": limits.max_bytes,
            "max_ratio": limits.max_ratio,
            "ratio_from_bytes": limits.ratio_from_bytes,
        }
    }


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as f:
        return f.read().strip()


def is_layer_directory(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of <root>/layers is a layer's."""
    return entry.name != EMPTY and stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode)
