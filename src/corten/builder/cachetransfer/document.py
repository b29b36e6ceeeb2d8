"""A cache as a document: BuildKit's cache config, of whose records ours say a little more.

    {"layers":  [{"blob", "parent", "annotations": {mediaType, diffID, size, createdAt}}]   parent: index, -1
     "records": [{"digest": key, "layers": [{"layer": index, "createdAt"}],
                  "corten": {"diffID", "createdNs", "name"}}]}

A record's `layers` is there if the layer's content is; `corten` always. So the work of steps whose layers
were not worth sending (mode=min) is recognised too, as long as nobody asks for their files. In an image's
own config (type=inline) there are only the records, and its layers are those of the image.

Source: moby/buildkit, cache/remotecache/v1/types/spec.go (names).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from corten.builder.image import Layer
from corten.digest import is_digest
from corten.errors import InvalidParameter
from corten.oci.image import Descriptor
from corten.units import SECOND_NS, format_time

MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0"
_END_OF_TIME_NS = 253_402_300_800 * SECOND_NS  # the year 10000, which no date can be written of
MAX_BYTES = 32 << 20  # of a document; BuildKit itself reads one megabyte


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Work that has been done: its keys, the layers of its result (the last is its own), its name."""

    keys: tuple[str, ...]
    layers: tuple[Layer, ...]
    name: str


@dataclass(slots=True)
class Known:
    """What a document knows: by key the layer that the work makes; by diff id what a layer's blob is."""

    layers: dict[str, Layer] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, Descriptor] = field(default_factory=dict)

    def update(self, other: Known) -> None:
        """Know what the other knows, too."""
        self.layers.update(other.layers)
        self.names.update(other.names)
        self.blobs.update(other.blobs)


class _Annotations(msgspec.Struct, rename="camel", omit_defaults=True):
    media_type: str = ""
    diff_id: str = msgspec.field(default="", name="diffID")
    size: int = 0
    created_at: str = ""


class _Layer(msgspec.Struct, omit_defaults=True):
    blob: str = ""
    parent: int = 0
    annotations: _Annotations | None = None


class _Result(msgspec.Struct, rename="camel"):
    layer: int
    created_at: str = ""


class _Ours(msgspec.Struct, rename="camel"):
    diff_id: str = msgspec.field(name="diffID")
    created_ns: int
    name: str = ""


class _Record(msgspec.Struct, omit_defaults=True):
    digest: str = ""
    layers: list[_Result] | None = None
    corten: _Ours | None = None


class _Document(msgspec.Struct, omit_defaults=True):
    layers: list[_Layer] | None = None
    records: list[_Record] | None = None


def encode(records: Sequence[Record], blobs: Mapping[str, Descriptor]) -> bytes:
    """The document of a cache. `blobs`: by diff id, what goes along."""
    layers: list[_Layer] = []
    numbers: dict[tuple[str, ...], int] = {(): -1}
    for record in records:
        for end, layer in enumerate(record.layers, 1):
            chain = tuple(each.diff_id for each in record.layers[:end])
            blob = blobs.get(layer.diff_id)
            if chain in numbers or blob is None or chain[:-1] not in numbers:
                continue
            numbers[chain] = len(layers)
            said = _Annotations(blob.media_type, layer.diff_id, blob.size, format_time(layer.created_ns))
            layers.append(_Layer(blob.digest, numbers[chain[:-1]], said))
    chains = [tuple(layer.diff_id for layer in record.layers) for record in records]
    found = _Document(layers, _records(records, [numbers.get(chain) for chain in chains]))
    return msgspec.json.encode(found)


def encode_inline(records: Sequence[Record], image: Sequence[Layer]) -> bytes:
    """What an image says of the cache in its own config; `image`: its layers."""
    chain = [layer.diff_id for layer in image]

    def number(record: Record) -> int | None:
        own = [layer.diff_id for layer in record.layers]
        return len(own) - 1 if own == chain[: len(own)] else None

    return msgspec.json.encode(_records(records, [number(record) for record in records]))


def _records(records: Sequence[Record], numbers: Sequence[int | None]) -> list[_Record]:
    found = []
    for record, number in zip(records, numbers, strict=True):
        own = record.layers[-1]
        ours = _Ours(own.diff_id, own.created_ns, record.name)
        results = None if number is None else [_Result(number, format_time(own.created_ns))]
        found += [_Record(key, results, ours) for key in record.keys]
    return found


def decode(raw: bytes, descriptors: Iterable[Descriptor]) -> Known:
    """What a document knows; `descriptors`: the blobs that are with it. Raises InvalidParameter."""
    try:
        document = msgspec.json.decode(raw, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"invalid cache config: {error}") from error
    there = {each.digest: each for each in descriptors}
    known = _known(document.records or ())
    for layer in document.layers or ():
        if layer.annotations is not None and layer.blob in there:
            known.blobs[layer.annotations.diff_id] = there[layer.blob]
    return known


def decode_inline(raw: bytes, diff_ids: Sequence[str], descriptors: Sequence[Descriptor]) -> Known:
    """What an image with these layers says of the cache. Raises InvalidParameter."""
    try:
        records = msgspec.json.decode(raw, type=list[_Record] | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"invalid cache in the image: {error}") from error
    known = _known(records or ())
    known.blobs.update(zip(diff_ids, descriptors, strict=False))
    return known


def _known(records: Iterable[_Record]) -> Known:
    known = Known()
    for record in records:
        ours = record.corten
        if ours is None or not (is_digest(record.digest) and is_digest(ours.diff_id)):
            continue
        if 0 <= ours.created_ns < _END_OF_TIME_NS:
            known.layers[record.digest] = Layer(ours.diff_id, ours.created_ns)
            known.names[record.digest] = ours.name
    return known
