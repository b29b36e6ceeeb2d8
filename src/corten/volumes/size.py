"""The option `size` of a volume: how much may be in it."""

from __future__ import annotations

from corten.errors import InvalidParameter
from corten.units import parse_binary_size
from corten.volumes.volume import Volume

_LEAST_BYTES = 4 << 20


def parse_size(action: str, text: str) -> int:
    """Bytes. Raises InvalidParameter for what is no size, or too small for a file system.

    action: how its message begins, e.g. "create data".
    """
    try:
        size_bytes = parse_binary_size(text)
    except ValueError as e:
        raise InvalidParameter(f"{action}: {e}") from e
    if size_bytes < _LEAST_BYTES:
        raise InvalidParameter(f"{action}: size is too small, the least is 4m")
    return size_bytes


def size_of(volume: Volume) -> int:
    """Bytes that a volume of limited size may have."""
    return parse_size(volume.name, volume.options["size"])
