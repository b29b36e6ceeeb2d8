"""What is counted and timed where it happens; `metrics.Metrics` tells it. Docker counts what succeeded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import perf_counter
from typing import TypeVar

from corten.prometheus import Histogram

T = TypeVar("T")


class Measures:
    """One per engine. Event loop's thread only."""

    def __init__(self) -> None:
        # containers
        self.create = Histogram()
        self.start = Histogram()
        self.delete = Histogram()
        self.commit = Histogram()
        self.changes = Histogram()
        self.health_checks = 0
        self.health_checks_failed = 0
        # images
        self.pull = Histogram()
        self.push = Histogram()
        self.remove_image = Histogram()
        # networks
        self.connect = Histogram()


async def timed(messages: AsyncIterator[T], histogram: Histogram) -> AsyncIterator[T]:
    """The same messages; how long all of them took is observed at their end."""
    began = perf_counter()
    try:
        async for message in messages:
            yield message
    finally:
        close = getattr(messages, "aclose", None)
        if close is not None:
            await close()
    histogram.observe(perf_counter() - began)
