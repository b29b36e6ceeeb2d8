"""What is known of layers' whereabouts in registries: so that a push need not send or compress them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from corten.digest import Digest
from corten.metadata import Ledger
from corten.oci.image import Descriptor
from corten.reference import Reference, parse_normalized


@dataclass(frozen=True, slots=True)
class RemoteLayer:
    """A layer lies in `repository` as `descriptor` says, or did when we last looked."""

    repository: Reference
    descriptor: Descriptor


class RemoteLayers:
    """The ledger's remote_layers. Event loop's thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def record(self, diff_id: Digest, repository: Reference, descriptor: Descriptor) -> None:
        """Note where a layer, which is in the store, lies."""
        self._ledger.execute(
            "INSERT INTO remote_layers (diff_id, repository, digest, size, media_type, known_ns)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (diff_id, repository) DO UPDATE SET"
            " digest = excluded.digest, size = excluded.size, media_type = excluded.media_type,"
            " known_ns = excluded.known_ns",
            (
                diff_id,
                repository.name,
                descriptor.digest,
                descriptor.size,
                descriptor.media_type,
                time.time_ns(),
            ),
        )

    def of(self, diff_id: Digest) -> list[RemoteLayer]:
        """All places, the latest first."""
        rows = self._ledger.query(
            "SELECT * FROM remote_layers WHERE diff_id = ? ORDER BY known_ns DESC", (diff_id,)
        )
        return [
            RemoteLayer(
                parse_normalized(row["repository"]),
                Descriptor(media_type=row["media_type"], digest=row["digest"], size=row["size"]),
            )
            for row in rows
        ]
