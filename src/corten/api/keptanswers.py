"""Answers that depend on nothing but the request: clients ask for /_ping and /version all the time."""

from __future__ import annotations

from typing import Protocol

from corten.api.response import Answer, http_date, split_at_date

_MOST = 64  # from as many different clients
_LONGEST = 512  # bytes of a request


class Hearing(Protocol):
    """Who answers requests."""

    @property
    def hears_all(self) -> bool:
        """Whether every request is to be put to it, now, as it does more than to answer."""


class KeptAnswers:
    """Answers by the bytes of the request: a whole one, without a body, from a client whom all is allowed."""

    def __init__(self, application: Hearing) -> None:
        self._application = application
        self._parts: dict[bytes, tuple[bytes, bytes]] = {}

    def find(self, request: bytes) -> bytes | None:
        """The answer as it is to be sent now, if there is one and nobody else has a say."""
        parts = self._parts.get(request) if len(request) <= _LONGEST else None
        if parts is None or self._application.hears_all:
            return None
        return parts[0] + http_date() + parts[1]

    def keep(self, request: bytes, answer: Answer, *, head_only: bool) -> None:
        """Give this answer, after which the connection goes on, from now on."""
        if len(request) > _LONGEST:
            return
        if len(self._parts) >= _MOST:
            self._parts.clear()
        self._parts[request] = split_at_date(answer, head_only=head_only)
