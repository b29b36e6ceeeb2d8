"""Layers on their way into the store: downloaded once however many pulls want them.

::

    fetch(diff id, descriptor)  ─► has the store the blob? ─► download (ranges, retries, resumed)
                                                                 └► verify ─► unpack ─► verify ─► adopt

Whoever asks for a layer that is already coming joins in and sees its progress from then on. The work ends
when the last one who waits for it is gone; what has arrived by then stays for the next attempt.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from corten.content import PartialBlob, PartialBlobs, SizeMismatch
from corten.digest import Digest, DigestMismatch, short_id
from corten.errors import InvalidParameter
from corten.images.blocking import run_to_end, unpack_layer
from corten.images.catalogue import ImageCatalogue
from corten.images.transfer import TransferSettings, Turns, retried
from corten.oci.image import Descriptor
from corten.registry.client import BlobStream, RemoteRegistry
from corten.registry.client.endpoint import EndpointClient
from corten.registry.client.errors import Unreachable
from corten.types.progress import ProgressDetail

Say = Callable[[str, ProgressDetail | None], None]

# Connections for one blob. More than these give nothing where one is already as fast as the disk.
_STREAMS = 4
_REPORT_EVERY_S = 0.1


@dataclass(slots=True)
class _Coming:
    """A layer on its way, and who wants to hear of it."""

    task: asyncio.Task[None]
    listeners: list[Say] = field(default_factory=list)
    waiting: int = 0


class Downloads:
    """The layers that are on their way. Event loop's thread."""

    def __init__(self, store: ImageCatalogue, partial: PartialBlobs, turns: Turns) -> None:
        self._store = store
        self._partial = partial
        self._turns = turns
        self._coming: dict[tuple[Digest, str], _Coming] = {}

    async def fetch(
        self,
        diff_id: Digest,
        descriptor: Descriptor,
        remote: RemoteRegistry,
        settings: TransferSettings,
        say: Say,
    ) -> None:
        """Bring a layer into the store. The caller has pinned its diff id and digest.

        say: told Docker's progress lines. Raises RegistryError, DigestMismatch, SizeMismatch,
        InvalidParameter, OSError.
        """
        key = (diff_id, descriptor.digest)
        coming = self._coming.get(key)
        if coming is None:
            listeners: list[Say] = []

            def tell(status: str, detail: ProgressDetail | None) -> None:
                for listener in listeners:
                    listener(status, detail)

            work = _Fetch(self._store, self._partial, self._turns, remote, settings, tell)
            task = asyncio.create_task(work.run(diff_id, descriptor))
            coming = self._coming[key] = _Coming(task, listeners)
            task.add_done_callback(lambda _: self._coming.pop(key, None))
        coming.listeners.append(say)
        coming.waiting += 1
        try:
            await asyncio.shield(coming.task)
        finally:
            coming.listeners.remove(say)
            coming.waiting -= 1
            if not coming.waiting and not coming.task.done():
                self._coming.pop(key, None)
                coming.task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await coming.task


class _Fetch:
    """One layer's way into the store."""

    def __init__(
        self,
        store: ImageCatalogue,
        partial: PartialBlobs,
        turns: Turns,
        remote: RemoteRegistry,
        settings: TransferSettings,
        say: Say,
    ) -> None:
        self._store = store
        self._partial = partial
        self._turns = turns
        self._remote = remote
        self._settings = settings
        self._say = say

    async def run(self, diff_id: Digest, descriptor: Descriptor) -> None:
        """See Downloads.fetch."""
        digest = Digest(descriptor.digest)
        if not self._store.has_blob(digest):
            if self._turns.busy:
                self._say("Waiting", ProgressDetail())
            async with self._turns:
                try:
                    await self._download(digest, descriptor.size)
                finally:
                    # Also when cancelled a moment too late: what is on disk has a row.
                    if self._store.blobs.has(digest):
                        self._store.record_blob(digest)
        self._say("Verifying Checksum", ProgressDetail())
        self._say("Download complete", ProgressDetail())

        def report(read: int) -> None:
            self._say("Extracting", ProgressDetail(current=read, total=descriptor.size))

        await unpack_blob(self._store, diff_id, digest, report)
        self._say("Pull complete", ProgressDetail())

    async def _download(self, digest: Digest, size: int) -> None:
        loop = asyncio.get_running_loop()

        def report(current: int) -> None:
            detail = ProgressDetail(current=current, total=size)
            loop.call_soon_threadsafe(self._say, "Downloading", detail)

        def once() -> Awaitable[None]:
            transfer = _Transfer(self._partial, self._remote, digest, size, report)
            return run_to_end(transfer.stop, transfer.run)

        await retried(self._settings, lambda text: self._say(text, None), once)


async def unpack_blob(
    store: ImageCatalogue, diff_id: Digest, digest: Digest, report: Callable[[int], None] | None = None
) -> None:
    """Make a layer of a blob in the store. Raises InvalidParameter if it is not the one of `diff_id`."""
    fd = store.blobs.open(digest)
    try:
        layer = await unpack_layer(store.layers, fd, diff_id, report)
    except DigestMismatch as e:
        raise InvalidParameter(f"layer {short_id(digest)} does not match its diff id: {e}") from e
    finally:
        os.close(fd)
    store.layers.adopt(layer)


class _Transfer:
    """One attempt to bring what is missing of a blob. `run` blocks; `stop` from any thread."""

    def __init__(
        self,
        partial: PartialBlobs,
        remote: RemoteRegistry,
        digest: Digest,
        size: int,
        report: Callable[[int], None],
    ) -> None:
        self._partial = partial
        self._remote = remote
        self._digest = digest
        self._size = size
        self._report = report
        self._reported = 0.0
        self._stopped = False
        self._threads: set[int] = set()
        self._sources: set[EndpointClient] = set()

    def run(self) -> None:
        """Raises Unreachable (then what has come so far is kept), DigestMismatch, SizeMismatch, ..."""
        blob = self._partial.open(self._digest, self._size)
        resumed = blob.present > 0
        try:
            if self._size == 0 or (missing := deque(blob.missing())):
                self._fill(blob, missing if self._size else deque([(0, 0)]))
            blob.commit()
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                blob.discard()
            raise
        except SizeMismatch:
            blob.discard()
            raise
        except DigestMismatch:
            if sum(self._remote.distrust(source) for source in self._sources):
                raise Unreachable(f"a mirror has sent wrong content for {self._digest}") from None
            if resumed:
                raise Unreachable(f"what was left of {self._digest} is damaged") from None
            raise
        finally:
            blob.close()
        self._report(self._size)

    def _fill(self, blob: PartialBlob, missing: deque[tuple[int, int]]) -> None:
        start, end = missing.popleft()
        # Small or nearly complete blobs come in one go; the first answer tells whether there are ranges.
        stream = self._open(start, end if missing else None)
        if not missing or stream.offset != start or not stream.partial:
            self._receive(blob, stream, self._size)
            return
        with ThreadPoolExecutor(_STREAMS - 1, "ranges") as threads:
            jobs = [threads.submit(self._segments, blob, missing) for _ in range(_STREAMS - 1)]
            try:
                self._receive(blob, stream, end)
                self._segments(blob, missing)
                for job in jobs:
                    job.result()
            except BaseException:
                self.stop()
                raise

    def _segments(self, blob: PartialBlob, missing: deque[tuple[int, int]]) -> None:
        while missing:
            try:
                start, end = missing.popleft()
            except IndexError:
                return
            stream = self._open(start, end)
            if stream.offset != start:
                stream.close()
                raise Unreachable("registry has stopped to serve ranges")
            self._receive(blob, stream, end)

    def _open(self, start: int, end: int | None) -> BlobStream:
        self._threads.add(threading.get_ident())
        if self._stopped:
            raise Unreachable("pull was cancelled")
        stream = self._remote.blob(self._digest, start, end)
        self._sources.add(stream.client)
        return stream

    def _receive(self, blob: PartialBlob, stream: BlobStream, end: int) -> None:
        """Write a stream to its place, up to its end, which has to be `end`."""
        at = stream.offset
        try:
            while data := stream.read():
                if self._stopped:
                    raise Unreachable("pull was cancelled")
                if at + len(data) > end:
                    raise SizeMismatch(end, at + len(data))
                blob.write(at, data)
                at += len(data)
                if (now := time.monotonic()) - self._reported >= _REPORT_EVERY_S:
                    self._reported = now
                    self._report(blob.present)
        finally:
            stream.close()
        if at < end:
            raise Unreachable("unexpected EOF")

    def stop(self) -> None:
        """Make `run`, in another thread, end soon."""
        self._stopped = True
        for thread in self._threads.copy():
            self._remote.abort(thread)
