"""ImageStore: the catalogue with everything that keeps it sound and fills it.

Called on the event loop's thread throughout; what takes long is async.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence

from corten.digest import Digest
from corten.images import bootstrap, pull, push
from corten.images.artifact import Artifact, push_artifact
from corten.images.blocking import run_blocking
from corten.images.catalogue import ContainerUsage, ImageCatalogue, OnEvent, ignore_event
from corten.images.collect import Collector, Dispose, dispose_in_thread
from corten.images.downloads import Downloads
from corten.images.image import ImageLayer
from corten.images.layer_blobs import LayerForm
from corten.images.publication import Documents, Publication
from corten.images.publishing import SayOfLayer, keep, publish
from corten.images.transfer import TransferSettings, Turns
from corten.metadata import Ledger
from corten.oci.image import Descriptor
from corten.platforms import Platform, parse_platform
from corten.reference import Reference, parse_normalized
from corten.registry.client import RemoteRegistry, domain_of_server_address
from corten.snapshots.uppers import is_small
from corten.snapshots.workers import WorkerPool
from corten.types.progress import JSONMessage
from corten.types.system import AuthConfig, AuthResponse


class ImageStore(ImageCatalogue):
    """Images by id and name, and how they come and go. `root` is the engine's data root.

    usage: who uses images (default: the ledger's containers). on_event: told of every image event.
    dispose: takes over deleted files, e.g. the janitor. transfers: how to reach registries (see `use`).
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
        transfers: TransferSettings | None = None,
        layer_form: str = "extract",
    ) -> None:
        super().__init__(root, ledger, workers=workers, usage=usage, on_event=on_event, layer_form=layer_form)
        self.collector = Collector(self, dispose)
        self.transfers = transfers or TransferSettings()
        self._download_turns = Turns(self.transfers.downloads)
        self._upload_turns = Turns(self.transfers.uploads)
        self._downloads = Downloads(self, self.partial, self._download_turns)

    def use(self, transfers: TransferSettings) -> None:
        """Other settings for what begins from now on."""
        self.transfers = transfers
        self._download_turns.size = transfers.downloads
        self._upload_turns.size = transfers.uploads

    def restore(self) -> None:
        """Put right what a crash left; call it once at start, before anything else."""
        self.collector.restore()
        self.partial.sweep()

    async def settle(self) -> None:
        """Make all layers and blobs survive a power cut (sync(2) in a thread, then the ledger)."""
        layers, blobs = self.layers.unsynced(), self.unsynced_blobs()
        if layers or blobs:
            await run_blocking(os.sync)
            self.layers.mark_synced(layers)
            self.mark_blobs_synced(blobs)
        await run_blocking(self.ledger.sync)

    async def keep_settled(self, interval_s: float = 10.0) -> None:
        """Settle what is new again and again until cancelled; to be owned by whoever runs the engine."""
        while True:
            await asyncio.sleep(interval_s)
            if self.layers.unsynced() or self.unsynced_blobs():
                await self.settle()

    def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        auth: AuthConfig | None = None,
        all_tags: bool = False,
    ) -> AsyncIterator[JSONMessage]:
        """`docker pull`; see `corten.images.pull`. Raises InvalidReference, InvalidParameter at once."""
        options = pull.PullOptions(
            platform=parse_platform(platform) if platform else None,
            auth=auth,
            settings=self.transfers,
            downloads=self._downloads,
        )
        return pull.pull(self, parse_normalized(reference), options, all_tags=all_tags)

    def push(
        self,
        reference: str,
        *,
        auth: AuthConfig | None = None,
        all_tags: bool = False,
        platform: Platform | None = None,
    ) -> AsyncIterator[JSONMessage]:
        """`docker push`; see `corten.images.push`. Raises InvalidReference at once."""
        options = push.PushOptions(auth=auth, all_tags=all_tags, platform=platform, settings=self.transfers)
        return push.push(self, parse_normalized(reference), options, self._upload_turns)

    async def remote(self, reference: Reference, auth: AuthConfig | None) -> RemoteRegistry:
        """The repository of a reference, to be read. In a thread: trusting a host may ask the resolver."""
        return await run_blocking(RemoteRegistry, reference, auth, self.transfers.hosts)

    async def fetch_layer(self, remote: RemoteRegistry, diff_id: Digest, descriptor: Descriptor) -> None:
        """Bring one layer, whose diff id the caller has pinned, out of a repository. Raises RegistryError."""
        with self.pins() as pins:
            pins.blob(Digest(descriptor.digest))
            await self._downloads.fetch(diff_id, descriptor, remote, self.transfers, lambda *_: None)

    async def push_artifact(self, reference: Reference, auth: AuthConfig | None, artifact: Artifact) -> None:
        """See `corten.images.artifact`."""
        await push_artifact(self, reference, auth, artifact, self.transfers, self._upload_turns)

    async def publish(
        self,
        reference: Reference,
        auth: AuthConfig | None,
        publication: Publication,
        *,
        form: LayerForm | None,
        say: SayOfLayer,
        remember: bool = True,
    ) -> Documents:
        """See `corten.images.publishing`."""
        transfers, turns = self.transfers, self._upload_turns
        return await publish(
            self, reference, auth, publication, form, say, transfers, turns, remember=remember
        )

    async def keep_publication(
        self,
        names: Sequence[Reference],
        publication: Publication,
        form: LayerForm | None,
        *,
        canonical: bool = False,
    ) -> Documents:
        """See `corten.images.publishing`: into the store alone."""
        return await keep(self, names, publication, form, canonical=canonical)

    async def login(self, auth: AuthConfig) -> AuthResponse:
        """POST /auth: whether the registry accepts the credentials. Raises RegistryError."""
        repository = Reference(domain=domain_of_server_address(auth.server_address), path="")

        def check() -> tuple[str, str]:
            with RemoteRegistry(repository, auth, self.transfers.hosts) as remote:
                return remote.login()

        status, token = await run_blocking(check)
        return AuthResponse(status=status, identity_token=token)

    def bootstrap(
        self, what: str, *, mirror: str = "", cache: str = bootstrap.DEFAULT_CACHE
    ) -> AsyncIterator[JSONMessage]:
        """Base images without a registry; see `corten.images.bootstrap`."""
        return bootstrap.bootstrap(self, what, mirror=mirror, cache=cache)

    async def commit_upper(
        self, upper: str, *, keep: bool, clean: Callable[[str], None] | None = None
    ) -> ImageLayer:
        """Make a layer of an upperdir (by renaming, or by copying with `keep`) and adopt it.

        clean: see `LayerStore.from_upper`.

        Hold it (`pins`) or create an image of it before the next await.
        """
        if not keep and is_small(upper):
            layer = self.layers.from_upper(upper, keep=False)  # about a millisecond
        else:
            layer = await asyncio.shield(
                run_blocking(lambda: self.layers.from_upper(upper, keep=keep, clean=clean))
            )
        self.layers.adopt(layer)
        return ImageLayer(diff_id=layer.diff_id)
