"""The directories of `RUN --mount=type=cache`, which outlive builds.

shared: everybody uses one directory at once. locked: one command after the other. private: who comes
while another uses it gets a directory of its own, kept for the next time.

One that is to begin with files (`from=`) is there for these files: with others, or when they change, it is
another one. It comes to its place whole, so that nobody else sees it half filled.

An id `volume:NAME` (to BuildKit an id like any other) is the volume NAME, which can then be looked into,
exported and shared with containers. It is made with the label `corten.build-cache`, and one without the label
is refused: whoever writes a Dockerfile must not get at other volumes.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakValueDictionary

from corten.builder.blocking import run_blocking
from corten.builder.graph import VOLUME, CacheMount
from corten.digest import digest_of, hex_of
from corten.errors import InvalidParameter, NotSupported
from corten.metadata import Ledger
from corten.snapshots.treebytes import tree_bytes

OpenVolume: TypeAlias = Callable[[str], AbstractAsyncContextManager[tuple[str, bool]]]
"""The directory of the volume of this name for the length of a block, and whether it has just been made.

Raises Forbidden if it is no build cache, and what mounting it raises.
"""

_NAME_LENGTH = 24
_ROW = re.compile(r"(.*) [0-7]+ \d+:\d+(?: from \S+)?(?: #\d+)?", re.DOTALL)  # see `use`


@dataclass(frozen=True, slots=True)
class Beginning:
    """The files of a new directory. `identity`: the same for the same files.

    `copy` makes a copy of them on the store's file system, which is then taken away; gives its path.
    """

    identity: str
    copy: Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MountEntry:
    """A directory, for `prune` and `du`. Times in ns since 1970. `id`: of the directory."""

    id: str
    description: str
    created_ns: int
    used_ns: int
    size: int
    in_use: bool


class CacheMounts:
    """Directories below <root>/builder/mounts, by id. Event loop's thread only."""

    def __init__(
        self,
        root: str,
        ledger: Ledger,
        dispose: Callable[[str], None],
        open_volume: OpenVolume | None = None,
    ) -> None:
        """dispose: deletes a directory some time, which is not in its place any more."""
        self._path = os.path.join(root, "builder", "mounts")
        self._tmp = os.path.join(root, "tmp")
        self._ledger = ledger
        self._dispose = dispose
        self._open_volume = open_volume
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._users: Counter[str] = Counter()
        os.makedirs(self._path, mode=0o700, exist_ok=True)

    @asynccontextmanager
    async def use(self, mount: CacheMount, beginning: Beginning | None = None) -> AsyncIterator[str]:
        """The directory for one command; a new one is empty, or begins as it is said to."""
        name = f"{mount.id} {mount.mode:o} {mount.uid}:{mount.gid}"
        if beginning is not None:
            name += f" from {beginning.identity}"
        if mount.id.startswith(VOLUME):
            name = mount.id  # the one that there is, whatever a command would have made
        if mount.sharing == "shared":
            async with self._held(name, mount, beginning) as path:
                yield path
            return
        lock = self._lock(name)
        number = 1
        while mount.sharing == "private" and lock.locked() and not mount.id.startswith(VOLUME):
            number += 1
            lock = self._lock(f"{name} #{number}")
        if number > 1:
            name += f" #{number}"
        async with lock, self._held(name, mount, beginning) as path:
            yield path

    def _lock(self, name: str) -> asyncio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock

    @asynccontextmanager
    async def _held(self, name: str, mount: CacheMount, beginning: Beginning | None) -> AsyncIterator[str]:
        if mount.id.startswith(VOLUME):
            async with self._volume(mount) as path:
                yield path
            return
        directory = hex_of(digest_of(name.encode()))[:_NAME_LENGTH]
        self._users[directory] += 1
        try:
            if beginning is None:
                yield self._directory(name, directory, mount)
            else:
                yield await self._filled(name, directory, beginning)
        finally:
            self._users[directory] -= 1

    def _directory(self, name: str, directory: str, mount: CacheMount) -> str:
        self._note(name, directory)
        path = os.path.join(self._path, directory)
        try:
            os.mkdir(path, mount.mode)
        except FileExistsError:
            return path
        _own(path, mount)
        return path

    async def _filled(self, name: str, directory: str, beginning: Beginning) -> str:
        path = os.path.join(self._path, directory)
        async with self._lock(f"{name} filled"):  # whatever the sharing: who comes meanwhile waits
            if os.path.isdir(path):
                self._note(name, directory)
            else:
                copy = await beginning.copy()
                self._note(name, directory)
                os.rename(copy, path)
        return path

    def _note(self, name: str, directory: str) -> None:
        """The row, which comes first: no directory without one."""
        now = time.time_ns()
        self._ledger.execute(
            "INSERT INTO build_mounts (id, directory, created_ns, used_ns) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET used_ns = excluded.used_ns",
            (name, directory, now, now),
        )

    @asynccontextmanager
    async def _volume(self, mount: CacheMount) -> AsyncIterator[str]:
        if self._open_volume is None:
            raise NotSupported("this builder has no volumes")
        if mount.input is not None:
            raise NotSupported("a cache mount that is a volume cannot begin with other files (from=)")
        name = mount.id.removeprefix(VOLUME)
        if not name:  # would be a new volume each time
            raise InvalidParameter("a cache mount's id volume:NAME needs the name")
        async with self._open_volume(name) as (path, made):
            if made:
                _own(path, mount)
            yield path

    async def entries(self) -> list[MountEntry]:
        """All directories with their sizes, the longest unused first."""
        rows = self._ledger.query("SELECT * FROM build_mounts ORDER BY used_ns")
        paths = [os.path.join(self._path, row["directory"]) for row in rows]
        sizes = await run_blocking(lambda: [tree_bytes(path) for path in paths])
        return [
            MountEntry(
                id=row["directory"],
                description=f"cached mount with id {_shown(row['id'])!r}",
                created_ns=row["created_ns"],
                used_ns=row["used_ns"],
                size=size,
                in_use=self._users[row["directory"]] > 0,
            )
            for row, size in zip(rows, sizes, strict=True)
        ]

    def remove(self, identifiers: Iterable[str]) -> None:
        """Delete directories, but not those that a command has by now."""
        for directory in identifiers:
            if self._users[directory]:
                continue
            away = os.path.join(self._tmp, f"cache-mount-{directory}-{time.time_ns()}")
            try:
                os.rename(os.path.join(self._path, directory), away)
            except FileNotFoundError:
                pass
            else:
                self._dispose(away)
            self._ledger.execute("DELETE FROM build_mounts WHERE directory = ?", (directory,))


def _shown(name: str) -> str:
    """The id that somebody has given it."""
    found = _ROW.fullmatch(name)
    return found[1] if found else name


def _own(path: str, mount: CacheMount) -> None:
    """Give a new directory the owner and mode that the command asks for."""
    os.chown(path, mount.uid, mount.gid)
    os.chmod(path, mount.mode)
