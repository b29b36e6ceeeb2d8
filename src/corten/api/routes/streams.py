"""What attach, exec and logs have in common."""

from __future__ import annotations

from corten.api.request import Request
from corten.errors import InvalidParameter

RAW_STREAM = b"application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = b"application/vnd.docker.multiplexed-stream"


def stream_type(request: Request, *, tty: bool) -> bytes:
    """The content type: since 1.42 it tells frames (`wire.stdcopy`) from a terminal's raw bytes."""
    return RAW_STREAM if tty or request.version < (1, 42) else MULTIPLEXED_STREAM


def terminal_size(request: Request) -> tuple[int, int]:
    """Rows and columns of a resize request."""
    rows, columns = (request.integer(name, -1) for name in ("h", "w"))
    if not (0 <= rows < 65536 and 0 <= columns < 65536):
        name = "h" if not 0 <= rows < 65536 else "w"
        raise InvalidParameter(f"invalid terminal size: {name}={request.text(name)!r}")
    return rows, columns
