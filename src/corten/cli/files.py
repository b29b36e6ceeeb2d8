"""Files that a command writes."""

from __future__ import annotations

import os

from corten.cli.context import write_all
from corten.cli.errors import ExitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def write_file(path: str, pieces: Iterable[bytes], what: str) -> None:
    """Write a file that appears only when it is whole. Raises ExitError, which begins with `what`."""
    unfinished = f"{path}.{os.getpid()}.tmp"
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for piece in pieces:
                write_all(fd, piece)
        finally:
            os.close(fd)
        os.rename(unfinished, path)
    except OSError as e:
        raise ExitError(f"{what}: {e.strerror}: {path}") from e
    finally:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
