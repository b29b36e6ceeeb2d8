"""Flow control of what comes, of one stream or of a whole connection (RFC 9113, 5.2)."""

from __future__ import annotations


class Window:
    """`size`: bytes that may be with us and not be used yet."""

    __slots__ = ("_room", "_size", "_used")

    def __init__(self, size: int) -> None:
        self._size = size
        self._room = size
        self._used = 0

    def take(self, count: int) -> bool:
        """So many bytes have come; False if they are more than were allowed."""
        self._room -= count
        return self._room >= 0

    def give_back(self, count: int) -> int:
        """So many have been used; by how many the peer should be told to go on, 0 for now.

        It is told when half the window is used: each time costs it and us more than it is worth.
        """
        self._used += count
        if self._used * 2 < self._size:
            return 0
        used, self._used = self._used, 0
        self._room += used
        return used
