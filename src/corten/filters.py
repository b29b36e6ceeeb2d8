"""Docker's `filters` query parameter.

Two JSON forms: `{"status": ["running", "paused"]}` and Go's `{"status": {"running": true}}`.
Values of one filter are alternatives, except labels, all of which must match.
Source: Engine API 1.51, docker-py and docker CLI traces.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from corten.errors import InvalidParameter
from corten.regex import InvalidRegex, Regex


class InvalidFilter(InvalidParameter):
    """The filter's name, or its values, are not what we know."""

    def __init__(self, name: str = "", values: Sequence[str] | None = None) -> None:
        what = name if values is None else f"{name}={' '.join(values)}"
        super().__init__(f"invalid filter '{what}'" if name else "invalid filter")
        self.name = name


class Filters(Mapping[str, tuple[str, ...]]):
    """Filter names with their values; an absent name matches everything."""

    __slots__ = ("_regexes", "_values")

    def __init__(self, values: Mapping[str, Collection[str]] | None = None) -> None:
        self._values: dict[str, tuple[str, ...]] = {k: tuple(v) for k, v in (values or {}).items()}
        self._regexes: dict[str, list[Regex]] = {}

    @classmethod
    def parse(cls, text: str) -> Filters:
        """Decode the query parameter; "" is no filter. Raises InvalidFilter."""
        if not text:
            return _NO_FILTERS
        try:
            document: object = json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidFilter from None
        if document is None:
            return _NO_FILTERS
        if not isinstance(document, dict):
            raise InvalidFilter
        return cls({str(name): _values(value) for name, value in document.items()})

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Filters({self._values!r})"

    def values_of(self, name: str) -> tuple[str, ...]:
        """All values given for a filter; () if it was not given."""
        return self._values.get(name, ())

    def validate(self, accepted: Collection[str]) -> None:
        """Raise InvalidFilter for the first name that is not accepted."""
        for name in self._values:
            if name not in accepted:
                raise InvalidFilter(name)

    def exact(self, name: str, source: str) -> bool:
        """Whether `source` is one of the values."""
        values = self._values.get(name)
        return not values or source in values

    def prefix(self, name: str, source: str) -> bool:
        """Whether `source` starts with one of the values."""
        values = self._values.get(name)
        return not values or source.startswith(values)

    def match(self, name: str, source: str) -> bool:
        """Whether one of the values equals `source` or is a regular expression found in it."""
        values = self._values.get(name)
        return not values or source in values or any(r.found_in(source) for r in self._compiled(name, values))

    def _compiled(self, name: str, values: Sequence[str]) -> list[Regex]:
        regexes = self._regexes.get(name)
        if regexes is None:
            regexes = self._regexes[name] = []
            for value in values:
                with suppress(InvalidRegex):  # as Docker: what is no expression may still be a name
                    regexes.append(Regex(value))
        return regexes

    def match_labels(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether every value, `key` or `key=value`, is among the labels."""
        return all(_has_label(labels, value) for value in self.values_of(name))

    def boolean(self, name: str, default: bool) -> bool:
        """The one truth value of a filter: true, 1, false, 0. Raises InvalidFilter for others."""
        values = self._values.get(name)
        if not values:
            return default
        truths = {_BOOLEANS.get(value) for value in values}
        if len(values) > 1 or None in truths:
            raise InvalidFilter(name, [f"[{' '.join(values)}]"])  # Docker shows all that was given
        return True in truths

    def one(self, name: str) -> str | None:
        """The only value of a filter; None if it was not given. Raises InvalidFilter for several."""
        values = self._values.get(name)
        if not values:
            return None
        if len(values) > 1:
            raise InvalidFilter(name, [f"[{' '.join(values)}]"])
        return values[0]


_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_NO_FILTERS = Filters()


def _values(value: object) -> list[str]:
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return value
    if isinstance(value, dict) and all(isinstance(v, bool) for v in value.values()):
        return [name for name, wanted in value.items() if wanted]
    raise InvalidFilter


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    found = labels.get(key)
    return found is not None and (not equals or found == value)
