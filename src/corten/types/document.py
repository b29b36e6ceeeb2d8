"""How a Struct says "null", "empty" and "missing" as Go's encoding/json does.

- A field without default, or made by `always()`, is written whatever it holds.
- A field with a plain default is Go's `omitempty`: left out while it holds that default.
- Slices and maps that dockerd answers as `null` are `list | None` and hold None.

msgspec leaves a field out when it *is* (identity) its default and never when the default comes
from a factory; the defaults in use ("", 0, False, None) are singletons.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Uint16 = Annotated[int, msgspec.Meta(ge=0, le=65535)]

STR_SLICE = "str-slice"
StrSlice = Annotated[list[str], msgspec.Meta(extra={STR_SLICE: True})]
"""A list of strings for which a request may give one plain string (Docker's strslice)."""

Empty = dict[str, object]
"""The value of Docker's sets: `{"80/tcp": {}}`."""


class Document(msgspec.Struct, rename="pascal", omit_defaults=True):
    """Base of all documents."""


def always(default: T, name: str | None = None) -> T:
    """Give a field a default that is nevertheless written (Go without `omitempty`).

    default must be immutable. name: JSON name where PascalCase is not it.
    """
    return msgspec.field(default_factory=lambda: default, name=name)


def always_map() -> dict[K, V]:
    """A map that is written as `{}` when nothing is in it."""
    return msgspec.field(default_factory=_new_map)


def _new_map() -> dict[K, V]:  # not `dict` itself, whose empty results msgspec would leave out
    return {}
