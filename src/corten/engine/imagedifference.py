"""`corten image diff`: what differs between the files of two images. A worker process compares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from corten.engine.containers.filestream import JobStream
from corten.images.blocking import StorageError
from corten.images.catalogue import ImageCatalogue
from corten.snapshots.workers.door import Door

_JOB = "corten.snapshots.filejobs:list_difference"
_AT_ONCE = 8  # comparisons that clients may keep waiting


class ImageDifference:
    """Compares images. mountpoint: an empty directory, for the workers' own namespaces."""

    def __init__(self, store: ImageCatalogue, *, mountpoint: str) -> None:
        self._store = store
        self._mountpoint = mountpoint
        self._door = Door(_AT_ONCE, "difference")

    async def between(self, old: str, new: str) -> AsyncIterator[bytes]:
        """The JSON text of a list of {Path, Kind}, as of a container's changes. Raises NoSuchImage."""
        store = self._store
        images = store.resolve(old), store.resolve(new)
        was, now = map(store.lower_dirs, images)
        params = {"mountpoint": self._mountpoint, "old": was, "new": now}
        with store.pins() as pins:
            for image in images:
                for diff_id in image.diff_ids:
                    pins.layer(diff_id)
            try:
                _, stream = await JobStream.open(
                    lambda fds, on_progress, on_start: self._door.job(
                        store.workers, _JOB, params, fds, on_progress, on_start=on_start, bounded=False
                    ),
                    [],
                )
                async with aclosing(stream):
                    async for piece in stream:
                        yield piece
            except OSError as e:
                raise StorageError(e) from e
