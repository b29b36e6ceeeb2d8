"""Looking into containers: processes and counters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from corten.api import answers
from corten.api.request import Request
from corten.api.response import JSON, Answer
from corten.errors import InvalidParameter
from corten.types.container import TopResponse
from corten.types.stats import Stats

_encoder = msgspec.json.Encoder()


class Monitor(Protocol):
    """What runs in containers and what it uses. All raise NoSuchContainer."""

    async def top(self, ref: str, arguments: str) -> TopResponse:
        """Its processes; arguments of ps(1), "" = -ef. Raises Conflict if it does not run."""

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Stats]:
        """Samples: every second if `stream`, otherwise one, which took a second unless `one_shot`."""


class MonitoringHandlers:
    """HTTP of `Monitor`."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    async def top(self, request: Request) -> Answer:
        """GET /containers/{id}/top."""
        return answers.document(request, await self._monitor.top(request.params[0], request.text("ps_args")))

    async def stats(self, request: Request) -> None:
        """GET /containers/{id}/stats: the head at once, then a document a line."""
        stream = request.flag("stream") if request.text("stream") else True
        one_shot = request.flag("one-shot")
        if stream and one_shot:
            raise InvalidParameter("cannot have stream=true and one-shot=true")
        samples = await self._monitor.stats(request.params[0], stream=stream, one_shot=one_shot)
        async with answers.closing(samples):
            body = request.stream(JSON)
            async for sample in samples:
                await body.write(_encoder.encode(sample) + b"\n")
