"""Taking directories away at once and deleting them later."""

from __future__ import annotations

import errno
import logging
import os
import secrets
from collections.abc import Coroutine
from typing import Protocol

from corten.engine.tasks import Background
from corten.errors import CortenError
from corten.images.collect import dispose_in_thread

log = logging.getLogger(__name__)

_GONE = "gone-"


class Janitor(Protocol):
    """Who deletes."""

    def discard(self, path: str) -> Coroutine[None, None, None]:
        """Remove a tree that nobody uses any more."""


class Trash:
    """Renames into <root>/tmp and lets the janitor do the rest.

    Whatever a crash leaves in tmp is emptied at the next start, so nothing has to be remembered.
    Implements `corten.volumes.store.Trash`, and `images.collect.Dispose` with `dispose`.
    """

    def __init__(self, tmp: str, janitor: Janitor, background: Background) -> None:
        """tmp: <root>/tmp, on the same file system as everything that is discarded."""
        self._tmp = tmp
        self._janitor = janitor
        self._background = background

    def discard(self, path: str) -> None:
        """Take `path` away. What is gone already is fine."""
        target = os.path.join(self._tmp, f"{_GONE}{secrets.token_hex(8)}")
        try:
            os.rename(path, target)
        except FileNotFoundError:
            return
        except OSError as e:
            if e.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            log.warning("directory is busy; left for the next start", extra={"path": path})
            return
        self.dispose(target)

    def dispose(self, path: str) -> None:
        """Delete what is in tmp already."""
        self._background.start(self._hand_over(path), "discard")

    def start_over(self) -> None:
        """Whoever was deleting has died: everything that was given away is given away again."""
        for name in os.listdir(self._tmp):
            if name.startswith(_GONE):
                self.dispose(os.path.join(self._tmp, name))

    async def _hand_over(self, path: str) -> None:
        try:
            await self._janitor.discard(path)
        except CortenError:
            dispose_in_thread(path)
