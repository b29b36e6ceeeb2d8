"""Percent-encoding of paths and query strings (RFC 3986), without `urllib`, which costs 10 ms."""

from __future__ import annotations

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: bytes = b"") -> str:
    """Percent-encode everything outside the unreserved set and `safe`."""
    if text.isascii() and text.isalnum():
        return text
    return "".join(
        chr(b) if b in _UNRESERVED or b in safe else f"%{b:02X}"
        for b in text.encode("utf-8", "surrogateescape")
    )


def encode(fields: dict[str, object]) -> str:
    """Encode a query: lists repeat their key, booleans are 1 and 0, None is left out."""
    pairs = []
    for key, value in fields.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            if item is None:
                continue
            text = str(int(item)) if isinstance(item, bool) else str(item)
            pairs.append(f"{quote(key)}={quote(text)}")
    return "&".join(pairs)
