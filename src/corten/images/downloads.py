"""Layers on their way into the store: downloaded once however many pulls want them.

::

    fetch(diff id, descriptor) ─► has the store the blob? ─► unpack ────────────────────► verify ─► adopt
                                    └► download (ranges, resumed, retried) ─► verify      ▲
                                          └► a worker unpacks what has come so far ───────┘

Whoever asks for a layer that is already coming joins in and sees its progress from then on. The work ends
when the last one who waits for it is gone; what has arrived by then stays for the next attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from corten.content import PartialBlobs
from corten.digest import Digest
from corten.images.blob_transfer import Transfer
from corten.images.blocking import run_blocking, run_to_end
from corten.images.catalogue import ImageCatalogue
from corten.images.transfer import TransferSettings, Turns, retried
from corten.images.unpacking import Unpacking, adopt_unpacked, unpack_blob
from corten.oci.image import Descriptor
from corten.registry.client import RemoteRegistry
from corten.snapshots.arrival import Arrival
from corten.types.progress import ProgressDetail

Say = Callable[[str, ProgressDetail | None], None]


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
        self._downloaded = False

    async def run(self, diff_id: Digest, descriptor: Descriptor) -> None:
        """See Downloads.fetch."""
        digest = Digest(descriptor.digest)
        if self._store.has_blob(digest):
            self._arrived()
            await unpack_blob(self._store, diff_id, digest, self._reporter("Extracting", descriptor.size))
            self._say("Pull complete", ProgressDetail())
            return
        if self._turns.busy:
            self._say("Waiting", ProgressDetail())
        # The turn lasts until the layer is unpacked: so many workers at most follow downloads.
        async with self._turns:
            try:
                unpacking = await self._download(diff_id, digest, descriptor.size)
            finally:
                # Also when cancelled a moment too late: what is on disk has a row.
                if self._store.blobs.has(digest):
                    self._store.record_blob(digest)
            self._arrived()
            await adopt_unpacked(self._store, digest, unpacking)
        self._say("Pull complete", ProgressDetail())

    def _arrived(self) -> None:
        self._say("Verifying Checksum", ProgressDetail())
        self._say("Download complete", ProgressDetail())
        self._downloaded = True

    async def _download(self, diff_id: Digest, digest: Digest, size: int) -> Unpacking:
        """Fetch the blob; returns the unpacking that has followed."""
        downloading, extracting = self._reporter("Downloading", size), self._reporter("Extracting", size)

        def follow(fd: int, arrival: Arrival) -> Unpacking:
            return Unpacking(self._store.layers, fd, diff_id, extracting, arrival)

        async def once() -> Unpacking:
            transfer = Transfer(self._partial, self._remote, digest, size, downloading, follow)
            try:
                return await run_to_end(transfer.stop, transfer.run)
            except asyncio.CancelledError:
                await run_blocking(transfer.give_up)
                raise

        return await retried(self._settings, lambda text: self._say(text, None), once)

    def _reporter(self, status: str, size: int) -> Callable[[int], None]:
        """What threads tell progress to; of unpacking nothing is said while the layer still comes."""
        loop = asyncio.get_running_loop()

        def say(current: int) -> None:
            if status == "Downloading" or self._downloaded:
                self._say(status, ProgressDetail(current=current, total=size))

        def tell(current: int) -> None:
            loop.call_soon_threadsafe(say, current)

        return tell
