"""Detach keys: the sequence that leaves an attached container running (`ctrl-p,ctrl-q`)."""

from __future__ import annotations

DEFAULT = "ctrl-p,ctrl-q"
_CONTROLS = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse(text: str) -> bytes:
    """The bytes that `ctrl-X` and single characters, separated by commas, stand for; raises ValueError."""
    keys = bytearray()
    for key in text.split(","):
        control = key.removeprefix("ctrl-")
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif len(control) == 1 and control != key and control in _CONTROLS:
            keys.append(_CONTROLS.index(control))
        else:
            raise ValueError(f"Unknown character: '{key}'")
    return bytes(keys)


class Detector:
    """Sans-I/O: what was typed goes in, what the container gets comes out.

    Keys that may be the beginning of the sequence are held back until it is clear that they are not.
    """

    __slots__ = ("_held", "_keys", "found")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0
        self.found = False

    def feed(self, data: bytes) -> bytes:
        """Take typed bytes; give those to pass on. After the whole sequence `found` is true."""
        passed = bytearray()
        for byte in data:
            while self._held and byte != self._keys[self._held]:
                passed += self._retreat()
            if byte != self._keys[self._held]:
                passed.append(byte)
                continue
            self._held += 1
            if self._held == len(self._keys):
                self._held = 0
                self.found = True
                break
        return bytes(passed)

    def _retreat(self) -> bytes:
        """Give up on the longest prefix held, keep the longest one that still may be a beginning."""
        typed = self._keys[: self._held]
        for start in range(1, self._held + 1):
            if self._keys.startswith(typed[start:]):
                self._held -= start
                return typed[:start]
        return b""
