"""Network sandboxes made ahead of need by the janitor, so that a container's start need not wait.

A sandbox costs the kernel half a millisecond under global locks. They are made in quiet moments,
or at once when few are left; a start that finds none makes its own. What is in the pool is held by
nothing but our descriptors: when the engine dies, the kernel removes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from corten.errors import CortenError
from corten.linux.netlink.sandbox import SandboxSpec
from corten.network.sandboxes import Sandbox, SandboxMaker, new_host_ifname

log = logging.getLogger(__name__)

_SIZE = 24
_LOW = 6
_QUIET_S = 0.03


class Janitor(Protocol):
    """Who makes sandboxes for us."""

    async def make_sandbox(
        self, *, bridge_index: int, mtu: int, isolated: bool, resolver: bool, host_ifname: str
    ) -> list[int]:
        """Its descriptors (`corten.network.sandboxes.Sandbox`), then the caller's."""

    async def make_bare_sandbox(self) -> list[int]:
        """The same of one with lo only."""


class SparePool:
    """Keeps some ready of what `make` makes; belongs to the event loop's thread."""

    def __init__(
        self, make: Callable[[], Awaitable[Sandbox]], *, size: int = _SIZE, lazy: bool = False
    ) -> None:
        """lazy: nothing is made before the first is asked for."""
        self._make, self._size = make, size
        self._ready: deque[Sandbox] = deque()
        self._loop = asyncio.get_running_loop()
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False
        self._last_take = 0.0
        if not lazy:
            self._refill()

    def spare(self) -> Sandbox | None:
        """A sandbox nobody else has, which the caller closes; None if there is none ready."""
        self._last_take = self._loop.time()
        self._refill()
        return self._ready.popleft() if self._ready else None

    def _refill(self) -> None:
        if (self._refilling is None or self._refilling.done()) and not self._closed:
            self._refilling = self._loop.create_task(self._fill(), name="refill sandbox pool")

    async def _fill(self) -> None:
        try:
            while len(self._ready) < self._size and not self._closed:
                if len(self._ready) >= _LOW:
                    quiet = self._last_take + _QUIET_S - self._loop.time()
                    if quiet > 0:
                        await asyncio.sleep(quiet)
                        continue
                self._keep(await self._make())
        except (CortenError, OSError) as e:
            log.warning("sandbox pool not refilled", extra={"reason": str(e)})

    def _keep(self, sandbox: Sandbox) -> None:
        if self._closed:
            sandbox.close()
        else:
            self._ready.append(sandbox)

    def close(self) -> None:
        """Let go of what is ready."""
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
        while self._ready:
            self._ready.popleft().close()


class BareSandboxes(SparePool):
    """Sandboxes for containers without a network."""

    def __init__(self, janitor: Janitor) -> None:
        async def make() -> Sandbox:
            return Sandbox(await janitor.make_bare_sandbox(), "")

        super().__init__(make, lazy=True)


class PooledSandboxes(SparePool):
    """A `corten.network.sandboxes.SandboxPool`."""

    def __init__(
        self,
        janitor: Janitor,
        spec: SandboxSpec,
        link_prefix: str,
        *,
        size: int = _SIZE,
        lazy: bool = False,
    ) -> None:
        async def make() -> Sandbox:
            name = new_host_ifname(link_prefix)
            fds = await janitor.make_sandbox(
                bridge_index=spec.bridge_index,
                mtu=spec.mtu,
                isolated=spec.isolated,
                resolver=spec.resolver,
                host_ifname=name,
            )
            return Sandbox(fds, name)

        self._maker = SandboxMaker(spec, link_prefix)
        super().__init__(make, size=size, lazy=lazy)

    def take(self) -> Sandbox:
        """A sandbox nobody else has; the caller closes it. Raises OSError."""
        return self.spare() or self._maker.take()
