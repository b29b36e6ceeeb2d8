"""ImageStore: all that the engine does with images, in one place.

Quick reads and changes of the ledger are plain methods (see `catalogue`); whatever takes long is an async
iterator of progress lines or bytes. Everything is called on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from corten.images import bootstrap, import_image, load
from corten.images.catalogue import ImageCatalogue
from corten.oci.image import ImageConfig
from corten.platforms import Platform
from corten.reference import Reference
from corten.snapshots.decompress import Limits
from corten.types.progress import JSONMessage


class ImageStore(ImageCatalogue):
    """Images by id and name, and how they come and go."""

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
