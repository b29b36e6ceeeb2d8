"""The engine itself: ping, version, info, events, disk usage, credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from corten.api import answers
from corten.api.request import Request
from corten.api.response import JSON, TEXT, Answer
from corten.api.versions import shows_event
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.types.events import Message
from corten.types.operations import DISK_USAGE_KINDS, EventsOptions, Ping
from corten.types.system import AuthConfig, AuthResponse, DiskUsage, FsckReport, Info, Version
from corten.wire.jsonstream import line


class System(Protocol):
    """The engine as a whole."""

    def ping(self) -> Ping:
        """What `_ping` tells, the same as long as the engine runs."""

    def version(self) -> Version:
        """Versions of the engine and its parts, the same as long as it runs."""

    async def info(self) -> Info:
        """State of the engine and the host."""

    async def events(self, options: EventsOptions) -> AsyncIterator[Message]:
        """Subscribe; past events of the asked period come first. `aclose()` ends the subscription."""

    async def disk_usage(self, kinds: frozenset[str]) -> DiskUsage:
        """Disk usage of the kinds asked for (`operations.DISK_USAGE_KINDS`)."""

    async def fsck(self, *, repair: bool, contents: bool) -> FsckReport:
        """Look for disagreements of ledger, disk and kernel; contents: hash what can be hashed."""

    async def auth(self, auth: AuthConfig) -> AuthResponse:
        """Try credentials at their registry. Raises Unauthorized."""


class SystemHandlers:
    """HTTP of the engine itself."""

    def __init__(self, system: System) -> None:
        self._system = system

    def ping(self, request: Request) -> Answer:
        """GET and HEAD /_ping."""
        ping = self._system.ping()
        headers = (
            f"Builder-Version: {ping.builder_version}\r\nSwarm: {ping.swarm}\r\n"
            f"Docker-Experimental: {str(ping.experimental).lower()}\r\n"
            "Cache-Control: no-cache, no-store, must-revalidate\r\nPragma: no-cache\r\n"
        )
        return Answer(200, b"OK", TEXT, headers.encode(), lasting=True)

    def version(self, request: Request) -> Answer:
        """GET /version."""
        return answers.document(request, self._system.version(), lasting=True)

    async def info(self, request: Request) -> Answer:
        """GET /info."""
        return answers.document(request, await self._system.info())

    async def events(self, request: Request) -> None:
        """GET /events: the head goes out at once, then an event a line."""
        options = EventsOptions(
            since_ns=request.time_ns("since"),
            until_ns=request.time_ns("until"),
            filters=Filters.parse(request.text("filters")),
        )
        since, until = options.since_ns, options.until_ns
        if since is not None and until is not None and since > until:
            first, last = request.text("since"), request.text("until")
            raise InvalidParameter(f"`since` time ({first}) cannot be after `until` time ({last})")
        async with answers.closing(await self._system.events(options)) as messages:
            stream = request.stream(JSON)
            async for message in messages:
                if shows_event(message.type, message.action, request.version):
                    await stream.write(line(message))

    async def disk_usage(self, request: Request) -> Answer:
        """GET /system/df."""
        kinds = frozenset(request.texts("type"))
        for unknown in kinds - DISK_USAGE_KINDS:
            raise InvalidParameter(f"unknown object type: {unknown}")
        return answers.document(request, await self._system.disk_usage(kinds or DISK_USAGE_KINDS))

    async def fsck(self, request: Request) -> Answer:
        """POST /system/fsck, which Docker has not."""
        report = self._system.fsck(
            repair=request.flag("repair"), contents=request.flag("contents", default=True)
        )
        return answers.document(request, await report)

    async def auth(self, request: Request) -> Answer:
        """POST /auth."""
        return answers.document(request, await self._system.auth(await request.json(AuthConfig)))
