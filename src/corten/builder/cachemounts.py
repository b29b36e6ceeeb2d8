"""The directories of `RUN --mount=type=cache`, which outlive builds.

shared: everybody uses one directory at once. locked: one command after the other. private: who comes
while another uses it gets a directory of its own, kept for the next time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from corten.builder.graph import CacheMount
from corten.digest import digest_of, hex_of
from corten.metadata import Ledger

_NAME_LENGTH = 24


class CacheMounts:
    """Directories below <root>/builder/mounts, by id."""

    def __init__(self, root: str, ledger: Ledger) -> None:
        self._path = os.path.join(root, "builder", "mounts")
        self._ledger = ledger
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        os.makedirs(self._path, mode=0o700, exist_ok=True)

    @asynccontextmanager
    async def use(self, mount: CacheMount) -> AsyncIterator[tuple[str, bool]]:
        """The directory for one command, and whether it has just been made (and is empty)."""
        name = f"{mount.id} {mount.mode:o} {mount.uid}:{mount.gid}"
        if mount.sharing == "shared":
            yield self._directory(name, mount)
            return
        lock = self._lock(name)
        number = 1
        while mount.sharing == "private" and lock.locked():
            number += 1
            lock = self._lock(f"{name} #{number}")
        async with lock:
            yield self._directory(name if number == 1 else f"{name} #{number}", mount)

    def _lock(self, name: str) -> asyncio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock

    def _directory(self, name: str, mount: CacheMount) -> tuple[str, bool]:
        now = time.time_ns()
        directory = hex_of(digest_of(name.encode()))[:_NAME_LENGTH]
        # The row first: no directory without one.
        self._ledger.execute(
            "INSERT INTO build_mounts (id, directory, created_ns, used_ns) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET used_ns = excluded.used_ns",
            (name, directory, now, now),
        )
        path = os.path.join(self._path, directory)
        try:
            os.mkdir(path, mount.mode)
        except FileExistsError:
            return path, False
        os.chown(path, mount.uid, mount.gid)
        os.chmod(path, mount.mode)
        return path, True
