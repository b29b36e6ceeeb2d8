"""Caches that one build has been given: whom the solver asks when the engine's own cache knows nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from corten.builder.cachetransfer.document import Known
from corten.builder.image import Layer
from corten.digest import Digest
from corten.errors import CortenError
from corten.oci.image import Descriptor

log = logging.getLogger(__name__)


class LayerSource(Protocol):
    """Where a cache lies."""

    async def bring(self, diff_id: Digest, descriptor: Descriptor) -> None:
        """Bring a layer into the engine's store, verified. Raises CortenError."""


class Imports:
    """The caches of one build, asked in order. Event loop's thread only."""

    def __init__(self) -> None:
        self._caches: list[tuple[Known, LayerSource]] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._caches)

    def add(self, known: Known, source: LayerSource) -> None:
        """One more cache."""
        self._caches.append((known, source))

    def find(self, keys: Sequence[str]) -> Layer | None:
        """The layer that the work of one of the keys makes; it need not be here."""
        for known, _ in self._caches:
            for key in keys:
                if key in known.layers:
                    return known.layers[key]
        return None

    def keys_of(self, layer: Layer) -> list[str]:
        """All names of the work that makes a layer."""
        return [key for known, _ in self._caches for key, each in known.layers.items() if each == layer]

    async def bring(self, diff_id: Digest) -> bool:
        """Fetch the layer; False if none of the caches has its content any more."""
        for known, source in self._caches:
            descriptor = known.blobs.get(diff_id)
            if descriptor is None:
                continue
            try:
                await source.bring(diff_id, descriptor)
            except (CortenError, OSError) as error:
                log.warning("layer of a cache", extra={"layer": diff_id, "error": str(error)})
            else:
                return True
        return False
