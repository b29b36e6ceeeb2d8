"""The keys that detach from a terminal: `ctrl-p,ctrl-q`.

A sequence is a comma-separated list of single characters and `ctrl-X`, X one of a-z @ [ \\ ] ^ _.
Source: docker CLI reference, `--detach-keys`.
"""

from __future__ import annotations

DEFAULT = b"\x10\x11"

_CONTROL = {letter: code for code, letter in enumerate("@abcdefghijklmnopqrstuvwxyz[\\]^_")}


def parse(text: str) -> bytes:
    """The bytes of a sequence; "" means the default. Raises ValueError."""
    if not text:
        return DEFAULT
    return bytes(_key(key) for key in text.split(","))


def _key(key: str) -> int:
    if len(key) == 1 and key.isascii():
        return ord(key)
    prefix, _, letter = key.partition("-")
    code = _CONTROL.get(letter) if prefix.lower() == "ctrl" else None
    if code is None:
        raise ValueError(f"Unknown character: '{key}'")
    return code


class Scanner:
    """Looks for the sequence in typed bytes. What may be its beginning is held back until that is clear."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes to pass on, and whether the whole sequence was typed (what follows it is dropped)."""
        keys = self._keys
        if not keys:
            return data, False
        data = self._held + data
        at = data.find(keys)
        if at >= 0:
            self._held = b""
            return data[:at], True
        held = next((n for n in range(len(keys) - 1, 0, -1) if data.endswith(keys[:n])), 0)
        self._held = data[len(data) - held :]
        return data[: len(data) - held], False
