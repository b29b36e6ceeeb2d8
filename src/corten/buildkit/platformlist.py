"""The platforms of a result, in order: metadata of results whose references are by platform.

Source: moby/buildkit, exporter/containerimage/exptypes/types.go (Platforms).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from corten.errors import InvalidParameter
from corten.platforms import Platform

KEY = "refs.platforms"


class _Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    architecture: str = ""
    os: str = ""
    variant: str = ""


class _Entry(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(default="", name="ID")
    platform: _Platform = _Platform()


class _Platforms(msgspec.Struct, rename="pascal"):
    platforms: list[_Entry] | None = None


def encode(platforms: Iterable[Platform]) -> bytes:
    """The metadata's value."""
    found = [
        _Entry(id=str(each), platform=_Platform(each.architecture, each.os, each.variant))
        for each in platforms
    ]
    return msgspec.json.encode(_Platforms(found))


def in_order(names: Iterable[str], metadata: Mapping[str, bytes]) -> Sequence[str]:
    """The names of references as the metadata lists them, others after them. Raises InvalidParameter."""
    try:
        listed = msgspec.json.decode(metadata.get(KEY) or b"{}", type=_Platforms).platforms or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"failed to parse platforms passed to exporter: {error}") from error
    places = {each.id: place for place, each in enumerate(listed)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))
