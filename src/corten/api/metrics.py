"""GET /metrics on an address of its own, for Prometheus: it may be read by whoever may reach it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Protocol

from corten.api.request import Request
from corten.api.response import TEXT, Answer
from corten.prometheus import MEDIA_TYPE


class Source(Protocol):
    """Who knows the figures."""

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""


class MetricsPage:
    """An `Application` of one page."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def hears_all(self) -> bool:
        """See Application: no answer is like another."""
        return True

    def dispatch(self, request: Request) -> Answer | Coroutine[object, object, Answer | None]:
        """Answer at once."""
        if request.path != b"/metrics":
            return Answer(404, b"404 page not found\n", TEXT)
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405, b"Method Not Allowed\n", TEXT)
        return Answer(200, self._source.text(), MEDIA_TYPE.encode())
