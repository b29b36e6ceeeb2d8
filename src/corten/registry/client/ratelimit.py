"""What a registry tells of its limits: Docker Hub's `RateLimit-Limit: 100;w=21600`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`remaining` of `limit` (0: unknown) requests in `window_s` seconds (0: unknown)."""

    remaining: int
    limit: int
    window_s: int

    def __str__(self) -> str:
        of = f" of {self.limit}" if self.limit else ""
        window = f" in {self.window_s / 3600:g} hours" if self.window_s else ""
        return f"{self.remaining}{of} pulls left{window}"


def rate_limit_of(headers: Mapping[str, str] | Message) -> RateLimit | None:
    """What the answer's headers tell, or None."""
    remaining, window = _value(headers.get("RateLimit-Remaining"))
    if remaining is None:
        return None
    limit, own_window = _value(headers.get("RateLimit-Limit"))
    return RateLimit(remaining, limit or 0, window or own_window or 0)


def _value(header: object) -> tuple[int | None, int | None]:
    """The number and its window."""
    number, _, parameters = str(header or "").partition(";")
    window = parameters.strip().removeprefix("w=")
    return _number(number.strip()), _number(window)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
