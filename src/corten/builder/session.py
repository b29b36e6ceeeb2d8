"""What one build holds while it runs: its directories, its pins on layers, its settings."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from corten.builder.attest.materials import Materials
from corten.builder.blocking import run_blocking, run_job
from corten.builder.cachetransfer.imports import Imports
from corten.builder.executor import ServeAgent
from corten.builder.results import Directory, Snapshot
from corten.digest import Digest
from corten.errors import CortenError
from corten.snapshots.layers import LayerStore
from corten.snapshots.workers import WorkerPool
from corten.types.operations import BuildLimits

log = logging.getLogger(__name__)

Dispose: TypeAlias = Callable[[str], None]
"""Takes over a directory of a build that has ended and deletes it some time; must not block."""

FetchDirectory: TypeAlias = Callable[[], Awaitable[Directory]]
"""Brings files of the client's here, when a build comes to need them."""


FindSecret: TypeAlias = Callable[[str], Awaitable[bytes | None]]
"""A secret's content by its id, None if there is none."""

FindAgent: TypeAlias = Callable[[str], Awaitable[ServeAgent | None]]
"""An ssh agent by its id, None if there is none."""


async def _nothing(identifier: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What applies to all commands of a build. `circumstances` and `epoch_ns` make other results.

    `hidden_env`: NAME → value, for commands only (proxies). `find_secret`, `find_agent`: what the client has
    under an id. `entitlements`: what the client has granted (`builder.entitlements`). `epoch_ns`: no file of
    a layer is to be younger (SOURCE_DATE_EPOCH). `cache_layers`: only these may come
    out of the cache (the classic --cache-from). `is_classic`: a command is the same whatever hosts and limits
    it is given.
    """

    limits: BuildLimits = field(default_factory=BuildLimits)
    extra_hosts: Sequence[str] = ()
    hidden_env: Mapping[str, str] = field(default_factory=dict)
    find_secret: FindSecret = _nothing
    find_agent: FindAgent = _nothing
    entitlements: frozenset[str] = frozenset()
    epoch_ns: int | None = None
    cache_layers: frozenset[str] | None = None
    is_classic: bool = False

    @property
    def circumstances(self) -> list[str]:
        """What BuildKit takes for a part of commands: hosts, ulimits, the size of /dev/shm, the cgroup."""
        if self.is_classic:
            return []
        limits = self.limits
        found = [f"host {host}" for host in self.extra_hosts]
        found += [f"ulimit {each.name}={each.soft}:{each.hard}" for each in limits.ulimits]
        found += [f"shm {limits.shm_size_bytes}"] if limits.shm_size_bytes else []
        found += [f"cgroup {limits.cgroup_parent}"] if limits.cgroup_parent else []
        return found


class Session:
    """Make one per build; `close` frees all. `name`: nobody else's.

    `has_little`: a few files at most are in its directories.
    `imports`: the caches from elsewhere that the build may use. `materials`: what it is made of.
    """

    def __init__(self, root: str, layers: LayerStore, settings: Settings | None = None) -> None:
        """`root`: the engine's; everything is made below its tmp, when it is needed: many builds only ask."""
        self.settings = settings or Settings()
        self.name = f"build-{secrets.token_hex(8)}"
        self._path = os.path.join(root, "tmp", self.name)
        self._is_made = False
        self.directories: dict[str, Directory] = {}
        self.fetched: dict[str, FetchDirectory] = {}
        self.imports = Imports()
        self.materials = Materials()
        self._layers = layers
        self._pins: set[Digest] = set()
        self._lower: dict[str, str] = {}  # the directories of layers, which have pins
        self._count = 0
        self.has_little = False
        self.on_close = ExitStack()

    @cached_property
    def path(self) -> str:
        """The build's own directory."""
        os.makedirs(self._path, mode=0o700)
        self._is_made = True
        return self._path

    @cached_property
    def mountpoint(self) -> str:
        """Where workers mount what they look at, each in a namespace of its own."""
        return self.new_directory("mnt")

    @cached_property
    def empty(self) -> str:
        """An empty root."""
        return self.new_directory("empty", mode=0o755)

    def new_directory(self, name: str, *, mode: int = 0o700) -> str:
        """A fresh directory of the build; `name` is for people."""
        self._count += 1
        self.has_little = False
        path = os.path.join(self.path, f"{self._count}-{name}")
        os.mkdir(path, mode)
        if mode != 0o700:  # the umask may take away from others only
            os.chmod(path, mode)
        return path

    async def directory(self, key: str) -> Directory:
        """What a `LocalSource` of this build names, brought here if it is not yet."""
        found = self.directories.get(key)
        if found is None:
            found = self.directories[key] = await self.fetched[key]()
        return found

    def pin(self, snapshot: Snapshot) -> None:
        """Keep a result's layers from garbage collection until the build's end."""
        for diff_id in {Digest(layer.diff_id) for layer in snapshot.layers} - self._pins:
            self._layers.pin(diff_id)
            self._pins.add(diff_id)

    def lower(self, snapshot: Snapshot) -> list[str]:
        """The layers' directories for overlayfs, uppermost first. Raises NotFound.

        overlayfs refuses the same directory twice (ELOOP). Of a layer that is there twice (two commands that
        changed nothing, say) the upper one counts: it says again all that the lower one said.
        """
        found = dict.fromkeys(layer.diff_id for layer in reversed(snapshot.layers))
        for diff_id in found.keys() - self._lower.keys():
            self._lower[diff_id] = self._layers.directory(Digest(diff_id))
        return [self._lower[diff_id] for diff_id in found] or [self.empty]

    async def close(self, workers: WorkerPool, dispose: Dispose | None = None) -> None:
        """Give up the pins and remove the files: here if they are few, else by `dispose` or in a worker."""
        while self._pins:
            self._layers.unpin(self._pins.pop())
        self.fetched.clear()  # who fetches knows us: a cycle
        try:
            self.on_close.close()
        finally:
            await self._remove(workers, dispose)

    async def _remove(self, workers: WorkerPool, dispose: Dispose | None) -> None:
        try:
            if not self._is_made:
                return
            if self.has_little:
                await run_blocking(lambda: shutil.rmtree(self.path))
            elif dispose is not None:
                dispose(self.path)
            else:
                await run_job(workers, "corten.builder.jobs:remove_tree", {"path": self.path})
        except (CortenError, OSError) as error:
            # What is left is swept when the engine starts again.
            log.warning("build directory stays", extra={"path": self.path, "error": str(error)})
