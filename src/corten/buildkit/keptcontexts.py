"""Clients' directories kept from one build to the next, so that only what has changed is sent again.

Each lies in a directory of its own below <root>/tmp: `files`, which have exactly the attributes that the
client gave them, and `index`, what is known of them. What a later build finds there unchanged need not be
fetched. A directory belongs to one build at a time; who comes while it is in use gets a fresh one. The next
start of the engine empties tmp.
"""

from __future__ import annotations

import os
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_KEPT = 10
_KEPT_BYTES = 2 << 30


@dataclass(slots=True)
class KeptContext:
    """One directory. `size`: bytes of its files; `count`: how many they are."""

    path: str
    size: int = 0
    count: int = 0
    in_use: bool = True

    @property
    def files(self) -> str:
        """The client's files."""
        return os.path.join(self.path, "files")

    @property
    def index(self) -> str:
        """What is known of them, for `TreeIndex`; missing if a transfer has ended early."""
        return os.path.join(self.path, "index")


class KeptContexts:
    """Directories by key (client, name, filters). Event loop's thread only."""

    def __init__(self, root: str, dispose: Callable[[str], None]) -> None:
        """`dispose` deletes a directory some time."""
        self._tmp = os.path.join(root, "tmp")
        self._dispose = dispose
        self._known: OrderedDict[str, KeptContext] = OrderedDict()

    def take(self, key: str) -> KeptContext | None:
        """The directory for a build, to be given back; None if it is in use."""
        found = self._known.get(key)
        if found is not None and found.in_use:
            return None
        if found is not None and not os.path.exists(found.index):
            self._dispose(found.path)
            found = None
        if found is None:
            found = self._known[key] = self._new()
        found.in_use = True
        self._known.move_to_end(key)
        return found

    def _new(self) -> KeptContext:
        context = KeptContext(os.path.join(self._tmp, f"context-{secrets.token_hex(8)}"))
        os.mkdir(context.path, 0o700)
        os.mkdir(context.files, 0o755)
        os.chmod(context.files, 0o755)  # noqa: S103 - whatever the umask: it becomes the root of what is copied
        return context

    def give_back(self, context: KeptContext) -> None:
        """The build has ended."""
        context.in_use = False
        self._trim(_KEPT, _KEPT_BYTES)

    def forget_all(self) -> None:
        """Delete all that are not in use."""
        self._trim(0, 0)

    def _trim(self, count: int, size: int) -> None:
        for key, context in [*self._known.items()]:
            total = sum(each.size for each in self._known.values())
            if len(self._known) <= count and total <= size:
                return
            if not context.in_use:
                del self._known[key]
                self._dispose(context.path)
