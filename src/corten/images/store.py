"""ImageStore: all that the engine does with images, in one place.

Quick reads and changes of the ledger are plain methods (see `catalogue`); whatever takes long is an async
iterator of progress lines or bytes. Everything is called on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence

from corten.filters import Filters
from corten.images import bootstrap, documents, import_image, load, pull, save
from corten.images.blocking import run_blocking
from corten.images.catalogue import ContainerUsage, ImageCatalogue, OnEvent, ignore_event
from corten.images.collect import Collector, Dispose, dispose_in_thread
from corten.images.image import ImageLayer
from corten.images.removal import Remover
from corten.metadata import Ledger
from corten.oci.image import ImageConfig
from corten.platforms import Platform
from corten.reference import Reference
from corten.registry.client import Credentials, RegistryTrust, RemoteRegistry
from corten.registry.client.credentials import host_of_server_address
from corten.snapshots.decompress import Limits
from corten.snapshots.uppers import is_small
from corten.snapshots.workers import WorkerPool
from corten.types.image import DeleteItem, HistoryItem, ImageInspect, ImagesPruneReport, ImageSummary
from corten.types.progress import JSONMessage


class ImageStore(ImageCatalogue):
    """Images by id and name, and how they come and go. `root` is the engine's data root.

    usage: who uses images (default: the ledger's containers). on_event: told of every image event.
    dispose: takes over deleted files, e.g. the janitor. insecure_registries: as in daemon.json.
    """

    def __init__(
        self,
        root: str,
        ledger: Ledger,
        *,
        workers: WorkerPool | None = None,
        usage: ContainerUsage | None = None,
        on_event: OnEvent = ignore_event,
        dispose: Dispose = dispose_in_thread,
        insecure_registries: Iterable[str] = (),
    ) -> None:
        super().__init__(root, ledger, workers=workers, usage=usage, on_event=on_event)
        self._collector = Collector(self, dispose)
        self._remover = Remover(self, self._collector)
        self.trust = RegistryTrust(insecure_registries)

    def restore(self) -> None:
        """Put right what a crash left; call it once at start, before anything else."""
        self._collector.restore()

    def collect(self) -> None:
        """Delete what nothing holds any more; call it after removing containers or leases."""
        self._collector.collect()

    async def settle(self) -> None:
        """Make all layers survive a power cut (sync(2) in a thread, then the ledger)."""
        unsynced = self.layers.unsynced()
        if unsynced:
            await run_blocking(os.sync)
            self.layers.mark_synced(unsynced)
        await run_blocking(self.ledger.sync)

    # -- quick ----------------------------------------------------------------------------------

    def remove(self, text: str, *, force: bool = False, prune: bool = True) -> list[DeleteItem]:
        """`docker rmi`; see `corten.images.removal`."""
        return self._remover.remove(text, force=force, prune=prune)

    def prune(self, filters: Filters | None = None) -> ImagesPruneReport:
        """`docker image prune`; see `corten.images.removal`."""
        return self._remover.prune(filters)

    def inspect(self, text: str) -> ImageInspect:
        """GET /images/{name}/json. Raises NoSuchImage."""
        return documents.inspect(self, text)

    def history(self, text: str) -> list[HistoryItem]:
        """GET /images/{name}/history."""
        return documents.history(self, text)

    def summaries(
        self,
        *,
        show_all: bool = False,
        filters: Filters | None = None,
        shared_size: bool = False,
        count_containers: bool = False,
    ) -> list[ImageSummary]:
        """GET /images/json."""
        return documents.summaries(
            self,
            show_all=show_all,
            filters=filters,
            shared_size=shared_size,
            count_containers=count_containers,
        )

    def layers_size(self) -> int:
        """LayersSize of GET /system/df, in bytes."""
        return documents.layers_size(self)

    # -- slow -----------------------------------------------------------------------------------

    def pull(
        self,
        reference: Reference,
        *,
        credentials: Credentials | None = None,
        platform: Platform | None = None,
        all_tags: bool = False,
        retry_delay_s: float = 5.0,
    ) -> AsyncIterator[JSONMessage]:
        """`docker pull`; see `corten.images.pull`."""
        options = pull.PullOptions(
            platform=platform, credentials=credentials, trust=self.trust, retry_delay_s=retry_delay_s
        )
        return pull.pull(self, reference, options, all_tags=all_tags)

    def save(self, texts: Sequence[str]) -> AsyncIterator[bytes]:
        """`docker save`; see `corten.images.save`."""
        return save.save(self, texts)

    async def login(self, credentials: Credentials) -> str:
        """POST /auth: Docker's sentence for credentials that the registry accepts."""
        host = host_of_server_address(credentials.serveraddress)
        registry = RemoteRegistry(Reference(domain=host, path=""), credentials, self.trust)
        return await run_blocking(registry.login)

    async def commit_upper(self, upper: str, *, keep: bool) -> ImageLayer:
        """Make a layer of an upperdir (by renaming, or by copying with `keep`) and adopt it.

        Hold it (`pins`) or create an image of it before the next await.
        """
        if is_small(upper) and not keep:
            layer = self.layers.from_upper(upper, keep=False)  # about a millisecond
        else:
            layer = await asyncio.shield(run_blocking(lambda: self.layers.from_upper(upper, keep=keep)))
        self.layers.adopt(layer)
        return ImageLayer(diff_id=layer.diff_id)

    def load(
        self,
        body: AsyncIterator[bytes],
        *,
        quiet: bool = False,
        platform: Platform | None = None,
        limits: Limits | None = None,
    ) -> AsyncIterator[JSONMessage]:
        """`docker load`; see `corten.images.load`."""
        return load.load(self, body, quiet=quiet, platform=platform, limits=limits)

    def import_(
        self,
        body: AsyncIterator[bytes],
        *,
        name: Reference | None = None,
        config: ImageConfig | None = None,
        message: str = "",
        platform: Platform | None = None,
        source: str = "-",
    ) -> AsyncIterator[JSONMessage]:
        """`docker import`; see `corten.images.import_image`."""
        return import_image.import_image(
            self, body, name=name, config=config, message=message, platform=platform, source=source
        )

    def bootstrap(
        self, what: str, *, mirror: str = "", cache: str = bootstrap.DEFAULT_CACHE
    ) -> AsyncIterator[JSONMessage]:
        """Base images without a registry; see `corten.images.bootstrap`."""
        return bootstrap.bootstrap(self, what, mirror=mirror, cache=cache)
