"""What the work of a vertex gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from corten.builder.image import Layer
from corten.digest import Digest, digest_of
from corten.errors import InvalidParameter, NotSupported

MOST_LAYERS = 500  # that can be mounted on each other (OVL_MAX_STACK in the kernel's fs/overlayfs/params.h)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A root file system: layers in the store, lowest first. Raises InvalidParameter if they are too many.

    `outputs`: what a command has left in those of its mounts that are kept.
    """

    layers: tuple[Layer, ...]
    outputs: tuple[Snapshot, ...] = ()

    def __post_init__(self) -> None:
        if len(self.layers) > MOST_LAYERS:
            raise InvalidParameter("max depth exceeded")

    @property
    def identity(self) -> Digest:
        """The same for the same content in the same layers."""
        return digest_of("\n".join([layer.diff_id for layer in self.layers]).encode())


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


def difference(lower: Result, upper: Result) -> Snapshot:
    """The layers that `upper` has upon those of `lower`. Raises NotSupported if it has not these too."""
    assert isinstance(lower, Snapshot)
    assert isinstance(upper, Snapshot)
    below = [layer.diff_id for layer in lower.layers]
    if [layer.diff_id for layer in upper.layers[: len(below)]] != below:
        raise NotSupported("a diff is supported only of a state and what was made on top of it")
    return Snapshot(upper.layers[len(below) :])
