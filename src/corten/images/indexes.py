"""Indexes of images for several platforms: what a name stood for where it came from.

A name points at one image, the one that was pulled last. Its index is kept beside it, byte for byte, with
all platforms that there are; those that were pulled, too, are *variants*: found by name and platform,
listed below their name, never dangling, and gone with the last name whose index has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from corten.digest import Digest, digest_of
from corten.metadata import Ledger
from corten.oci.image import Descriptor, decode_index, kind_of
from corten.reference import Reference

if TYPE_CHECKING:
    from corten.images.image import Image


@dataclass(frozen=True, slots=True)
class KeptIndex:
    """The index of a name."""

    raw: bytes
    digest: Digest
    media_type: str

    @property
    def manifests(self) -> list[Descriptor]:
        """What it lists."""
        return decode_index(self.raw).manifests


class Indexes:
    """The ledger's indexes. Event loop's thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def keep(self, name: Reference, raw: bytes) -> None:
        """Give a name, which has to be there, its index."""
        self._ledger.execute(
            "INSERT INTO indexes (name, digest, media_type, document) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET digest = excluded.digest,"
            " media_type = excluded.media_type, document = excluded.document",
            (str(name), digest_of(raw), kind_of(raw, ""), raw),
        )

    def copy(self, source: Reference, target: Reference) -> None:
        """A further name for the same."""
        found = self.of(source)
        if found is not None:
            self.keep(target, found.raw)

    def of(self, name: Reference) -> KeptIndex | None:
        """The index of a name, if it stands for one."""
        row = self._ledger.query_one("SELECT * FROM indexes WHERE name = ?", (str(name),))
        return KeptIndex(row["document"], row["digest"], row["media_type"]) if row else None

    def variants(self, name: Reference) -> list[tuple[Descriptor, Digest | None]]:
        """Every manifest of a name's index, and the id of its image if that is here."""
        kept = self.of(name)
        return [(each, self._image_of(each.digest)) for each in kept.manifests] if kept else []

    def _image_of(self, manifest: str) -> Digest | None:
        row = self._ledger.query_one(
            "SELECT id FROM images WHERE manifest_digest = ? AND NOT hidden LIMIT 1", (manifest,)
        )
        return Digest(row["id"]) if row else None

    def held(self) -> frozenset[str]:
        """The digests of all manifests that some name's index lists."""
        rows = self._ledger.query("SELECT DISTINCT digest, document FROM indexes")
        return frozenset(m.digest for row in rows for m in decode_index(row["document"]).manifests)

    def is_variant(self, image: Image) -> bool:
        """Whether the image is held by some name's index."""
        return image.manifest_digest is not None and image.manifest_digest in self.held()
