"""One attempt to bring a blob from a registry: by ranges where the server allows, unpacked as it comes."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from corten.content import PartialBlob, PartialBlobs, SizeMismatch
from corten.digest import Digest, DigestMismatch
from corten.images.unpacking import Unpacking
from corten.registry.client import BlobStream, RemoteRegistry
from corten.registry.client.endpoint import EndpointClient
from corten.registry.client.errors import Unreachable
from corten.snapshots.arrival import Arrival

# Connections for one blob. More than these give nothing where one is already as fast as the disk.
_STREAMS = 4
_REPORT_EVERY_S = 0.1


class Transfer:
    """One attempt to bring what is missing of a blob. `run` blocks; `stop` from any thread."""

    def __init__(
        self,
        partial: PartialBlobs,
        remote: RemoteRegistry,
        digest: Digest,
        size: int,
        report: Callable[[int], None],
        follow: Callable[[int, Arrival], Unpacking],
    ) -> None:
        """report: told the bytes that are here. follow: begins to unpack the file as it arrives."""
        self._partial = partial
        self._remote = remote
        self._digest = digest
        self._size = size
        self._report = report
        self._reported = 0.0
        self._stopped = False
        self._threads: set[int] = set()
        self._sources: set[EndpointClient] = set()
        self._follow = follow
        self._arrival = Arrival(size)
        self._unpacking: Unpacking | None = None

    def run(self) -> Unpacking:
        """The unpacking of what has come and is verified.

        Raises Unreachable (then what has come so far is kept), DigestMismatch, SizeMismatch, ...
        """
        try:
            self._bring()
        except BaseException:
            self.give_up()
            raise
        assert self._unpacking is not None
        return self._unpacking

    def give_up(self) -> None:
        """End what follows the transfer, which has ended. Blocks."""
        if self._unpacking is not None:
            self._unpacking.abandon()
        self._arrival.close()

    def _bring(self) -> None:
        blob = self._partial.open(self._digest, self._size)
        resumed = blob.present > 0
        try:
            self._unpacking = self._followed(blob)
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
        self._arrival.advance(self._size)
        self._report(self._size)

    def _followed(self, blob: PartialBlob) -> Unpacking:
        fd = blob.reader()
        try:
            return self._follow(fd, self._arrival)
        finally:
            os.close(fd)

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
                self._arrival.advance(blob.contiguous)
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
