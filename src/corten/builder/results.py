"""What the work of a vertex gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from corten.builder.image import Layer
from corten.digest import Digest, digest_of


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A root file system: layers in the store, lowest first."""

    layers: tuple[Layer, ...]

    @property
    def identity(self) -> Digest:
        """The same for the same content in the same layers."""
        return digest_of("\n".join(layer.diff_id for layer in self.layers).encode())


@dataclass(frozen=True, slots=True)
class Directory:
    """Files outside the store, at an absolute path; gone with the build.

    `identity` is the same for the same content; "" if nobody has looked yet. `small`: few enough files to
    be read without a worker process. `index`: a file of what is known of them (`TreeIndex`), "" = none.
    `linkable`: its files are never written to again, so that layers may have them by hard links.
    """

    path: str
    identity: str = ""
    small: bool = False
    index: str = ""
    linkable: bool = False


Result: TypeAlias = Snapshot | Directory


def merged(results: Sequence[Result]) -> Snapshot:
    """The layers of all snapshots, those of the last uppermost. Nothing is copied."""
    layers: list[Layer] = []
    for result in results:
        assert isinstance(result, Snapshot)
        layers += result.layers
    return Snapshot(tuple(layers))
