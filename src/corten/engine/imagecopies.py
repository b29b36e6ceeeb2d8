"""Copies between registries and archives, for the distribution service. Threads do the work."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress

from corten.images.archive_reader import SpooledArchive
from corten.images.blocking import feed, read_pipe, run_blocking
from corten.images.copyarchive import ArchiveSource, ArchiveTarget
from corten.images.copying import Copied, copy
from corten.images.copyregistry import Place, RegistrySource, RegistryTarget, copy_referrers
from corten.images.store import ImageStore
from corten.linux.files import write_all
from corten.oci.image import Descriptor
from corten.platforms import Platform
from corten.reference import Reference
from corten.registry.client import RegistryHosts
from corten.snapshots.decompress import Limits
from corten.types.distribution import Pushed


class ImageCopies:
    """Copies as the store's registries, mirrors and proxies are set up. All raise RegistryError."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    async def between(
        self, target: Place, source: Place, platform: Platform | None, *, referrers: bool
    ) -> Pushed:
        """From registry to registry. referrers: with what refers to it there."""

        def work() -> Pushed:
            with RegistrySource(source, self._hosts) as origin, self._into(target) as into:
                copied = copy(origin, into, platform)
                if referrers:
                    copy_referrers(origin, into, copied.digests)
            return _pushed(copied)

        return await run_blocking(work)

    async def index(self, target: Place, members: list[tuple[Place, Descriptor]]) -> Pushed:
        """A new index of images in a registry."""

        def work() -> Pushed:
            with self._into(target) as into:
                digest, size = into.put_index(members)
            return Pushed(digest=digest, size=size)

        return await run_blocking(work)

    async def unpacked(
        self, target: Place, body: AsyncIterator[bytes], name: str, platform: Platform | None
    ) -> Pushed:
        """From the archive in `body` (its image `name`; "": its only one). Raises BadArchive."""
        async with self._spooled(body) as archive:

            def work() -> Pushed:
                with self._into(target) as into:
                    return _pushed(copy(ArchiveSource(archive, name), into, platform))

            return await run_blocking(work)

    async def packed(
        self, source: Place, name: Reference | None, platform: Platform | None
    ) -> AsyncIterator[bytes]:
        """From a registry into the archive that is yielded; an error after the first bytes breaks it off."""

        def work(target: ArchiveTarget) -> None:
            with RegistrySource(source, self._hosts) as origin:
                copy(origin, target, platform)

        async with aclosing(_written(work, name)) as pieces:
            async for piece in pieces:
                yield piece

    async def repacked(
        self, body: AsyncIterator[bytes], name: str, called: Reference | None, platform: Platform | None
    ) -> AsyncIterator[bytes]:
        """From the archive in `body` into one that is an OCI layout, too. As `unpacked` and `packed`."""
        async with self._spooled(body) as archive:

            def work(target: ArchiveTarget) -> None:
                copy(ArchiveSource(archive, name), target, platform)

            async with aclosing(_written(work, called)) as pieces:
                async for piece in pieces:
                    yield piece

    @asynccontextmanager
    async def _spooled(self, body: AsyncIterator[bytes]) -> AsyncIterator[SpooledArchive]:
        """The archive in `body`, in a directory that goes afterwards."""
        directory = os.path.join(self._store.tmp, f"copy-{secrets.token_hex(8)}")
        os.mkdir(directory, 0o700)
        archive = SpooledArchive(directory)
        try:
            await feed(body, lambda pieces: archive.spool(pieces, Limits()))
            yield archive
        finally:
            await asyncio.shield(run_blocking(shutil.rmtree, directory))

    @property
    def _hosts(self) -> RegistryHosts:
        return self._store.transfers.hosts

    def _into(self, target: Place) -> RegistryTarget:
        return RegistryTarget(target, self._hosts, self._store.tmp)


async def _written(
    work: Callable[[ArchiveTarget], None], name: Reference | None
) -> AsyncGenerator[bytes, None]:
    """What `work`, in a thread, writes into an archive in which the image is called `name`."""

    def run(fd: int) -> None:
        try:
            work(ArchiveTarget(lambda data: write_all(fd, data), name))
        finally:
            os.close(fd)

    read_end, write_end = os.pipe()
    writing = asyncio.ensure_future(run_blocking(run, write_end))
    try:
        async with aclosing(read_pipe(read_end)) as pieces:
            async for piece in pieces:
                yield piece
        await writing
    finally:
        os.close(read_end)  # a writer whose reader is gone gets EPIPE and ends
        with suppress(BrokenPipeError):
            await asyncio.shield(writing)


def _pushed(copied: Copied) -> Pushed:
    return Pushed(digest=copied.top.digest, size=len(copied.top.raw))
