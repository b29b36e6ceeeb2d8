"""Sizes for people, as Docker's go-units prints them."""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def decimal(size_bytes: float, digits: int = 4) -> str:
    """`1.24GB`: units of 1000, four significant digits (images show three)."""
    return _scaled(size_bytes, 1000.0, _DECIMAL, digits)


def binary(size_bytes: float) -> str:
    """`7.653GiB`: units of 1024, four significant digits."""
    return _scaled(size_bytes, 1024.0, _BINARY, 4)


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    step = 0
    while size >= base and step < len(units) - 1:
        size /= base
        step += 1
    return f"{significant(size, digits)}{units[step]}"


def significant(number: float, digits: int) -> str:
    """A number as Go's `%.Ng` prints it: significant digits, no trailing zeros, exponents of two digits."""
    return f"{number:.{digits}g}"
