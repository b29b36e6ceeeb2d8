"""An image as a value."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from corten.digest import Digest, from_hex
from corten.oci.image import ImageConfig, ImageDocument
from corten.platforms import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """One layer of an image: the directory's name and, if it is kept, the blob it was unpacked from."""

    diff_id: Digest
    blob: Digest | None = None
    media_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image of the store. `layers`: lowest first. size: bytes of all layers. Times in ns since 1970."""

    id: Digest
    document: ImageDocument
    raw_config: bytes
    layers: tuple[ImageLayer, ...]
    size: int
    parent: Digest | None = None
    manifest_digest: Digest | None = None
    raw_manifest: bytes | None = None
    stored_ns: int = 0
    tagged_ns: int | None = None

    @property
    def config(self) -> ImageConfig:
        """Defaults for containers; empty if the image says nothing."""
        return self.document.config or ImageConfig()

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The layers, lowest first."""
        return tuple(layer.diff_id for layer in self.layers)

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return self.document.platform


def chain_ids(diff_ids: Sequence[Digest]) -> list[Digest]:
    """Names of the stacks of layers, lowest first (OCI config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        if not chain:
            chain.append(diff_id)
        else:
            chain.append(from_hex(hashlib.sha256(f"{chain[-1]} {diff_id}".encode()).hexdigest()))
    return chain
