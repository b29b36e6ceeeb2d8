"""Layers being unpacked by worker processes, seen from the event loop and from the threads of transfers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from corten.digest import Digest, DigestMismatch, short_id
from corten.errors import InvalidParameter
from corten.images.blocking import submit
from corten.images.catalogue import ImageCatalogue
from corten.snapshots.arrival import Arrival
from corten.snapshots.layers import DirectoryLayers, NewLayer
from corten.snapshots.workers import Job, JobFailed


class Unpacking:
    """One layer's, begun at once. `fd` stays the caller's; it is read to its end, or as `arrival` tells.

    arrival becomes ours. on_progress: called with the bytes read, in a thread. Either `result` or `abandon`
    must follow.
    """

    def __init__(
        self,
        layers: DirectoryLayers,
        fd: int,
        expected: Digest | None,
        on_progress: Callable[[int], None] | None = None,
        arrival: Arrival | None = None,
    ) -> None:
        self._layers = layers
        self._fd = os.dup(fd)
        self._expected = expected
        self._on_progress = on_progress
        self._arrival = arrival
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._killed = False
        self._work = submit(self._unpack)

    def _unpack(self) -> NewLayer:
        try:
            if self._killed:
                raise JobFailed("unpacking was given up")
            return self._layers.unpack(
                self._fd, self._expected, self._on_progress, self._begun, self._arrival
            )
        finally:
            self._release()

    def _release(self) -> None:
        os.close(self._fd)
        if self._arrival is not None:
            self._arrival.close()

    def _begun(self, job: Job) -> None:
        with self._lock:
            self._job = job
            if self._killed:
                job.kill()

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._work.done()

    async def result(self) -> NewLayer:
        """The layer, to be adopted. A cancelled caller leaves nothing behind.

        Raises DigestMismatch, BadArchive, OSError.
        """
        work = asyncio.wrap_future(self._work)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._kill()
            with suppress(Exception):
                self._layers.drop(await work)
            raise

    def abandon(self) -> None:
        """Give it up, whether it has ended or not. Blocks."""
        self._kill()
        if self._work.cancel():
            self._release()
            return
        with suppress(Exception):
            self._layers.drop(self._work.result())

    def _kill(self) -> None:
        with self._lock:
            self._killed = True
            if self._job is not None:
                self._job.kill()


async def unpack_layer(
    layers: DirectoryLayers,
    fd: int,
    expected: Digest | None,
    on_progress: Callable[[int], None] | None = None,
) -> NewLayer:
    """Unpack what `fd` delivers, as `Unpacking`; on_progress is called on the loop."""
    loop = asyncio.get_running_loop()

    def report(count: int) -> None:
        if on_progress is not None:
            loop.call_soon_threadsafe(on_progress, count)

    return await Unpacking(layers, fd, expected, report).result()


async def unpack_blob(
    store: ImageCatalogue, diff_id: Digest, digest: Digest, on_progress: Callable[[int], None] | None = None
) -> None:
    """Make a layer of a blob in the store. Raises as `adopt_unpacked`."""
    fd = store.blobs.open(digest)
    try:
        unpacking = Unpacking(store.layers, fd, diff_id, on_progress)
    finally:
        os.close(fd)
    await adopt_unpacked(store, digest, unpacking)


async def adopt_unpacked(store: ImageCatalogue, digest: Digest, unpacking: Unpacking) -> None:
    """Take in what is unpacked of a blob when it is ready. Raises InvalidParameter if it is not its layer."""
    try:
        layer = await unpacking.result()
    except DigestMismatch as e:
        raise InvalidParameter(f"layer {short_id(digest)} does not match its diff id: {e}") from e
    store.layers.adopt(layer)
