"""The engine itself: ping, version, info, events, disk usage, credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from corten.types.events import Message
from corten.types.operations import EventsOptions, Ping
from corten.types.system import AuthConfig, AuthResponse, DiskUsage, Info, Version


class System(Protocol):
    """The engine as a whole."""

    def ping(self) -> Ping:
        """What `_ping` tells; called for every ping, so answer the same object while nothing changes."""

    async def version(self) -> Version:
        """Versions of the engine and its parts."""

    async def info(self) -> Info:
        """State of the engine and the host."""

    async def events(self, options: EventsOptions) -> AsyncIterator[Message]:
        """Subscribe; past events of the asked period come first. `aclose()` ends the subscription."""

    async def disk_usage(self, kinds: frozenset[str]) -> DiskUsage:
        """Disk usage of the kinds asked for (`operations.DISK_USAGE_KINDS`)."""

    async def auth(self, auth: AuthConfig) -> AuthResponse:
        """Try credentials at their registry. Raises Unauthorized."""
