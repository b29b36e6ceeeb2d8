"""The filters that all prunes share: until, label, label!."""

from __future__ import annotations

import time
from collections.abc import Mapping

from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.units import parse_time

ACCEPTED = frozenset({"until", "label", "label!"})


class PruneFilter:
    """Which objects may go."""

    def __init__(self, filters: Filters, *further: str) -> None:
        """Raises InvalidFilter, InvalidParameter. further: names of filters that the caller looks at."""
        filters.validate(ACCEPTED | frozenset(further))
        self._filters = filters
        self._until_ns: int | None = None
        text = filters.one("until")
        if text is not None:
            try:
                self._until_ns = parse_time(text, time.time_ns())
            except ValueError as e:
                raise InvalidParameter(str(e)) from e

    def matches(self, created_ns: int, labels: Mapping[str, str]) -> bool:
        """Whether an object made then, with these labels, is meant."""
        if self._until_ns is not None and created_ns > self._until_ns:
            return False
        if not self._filters.match_labels("label", labels):
            return False
        unwanted = self._filters.values_of("label!")
        return not any(Filters({"label": [value]}).match_labels("label", labels) for value in unwanted)
