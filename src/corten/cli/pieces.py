"""What an engine sends, piece by piece, as a file."""

from __future__ import annotations

import io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class PieceReader(io.BufferedIOBase):
    """Reads the pieces as they come, once; for tarfile's streams."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def readable(self) -> bool:
        """That is what it is for."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, without one all that follow; none at the end."""
        if size is None or size < 0:
            data, self._left = b"".join((self._left, *self._pieces)), b""
            return data
        while not self._left and (piece := next(self._pieces, None)) is not None:
            self._left = piece
        data, self._left = self._left[:size], self._left[size:]
        return data
