"""Filters of containerd's form: `type==regular,description~=apt`.

Selectors with commas between them must all match; of several texts one is enough. A selector is a field
that must be there, or a field with `==`, `!=` or `~=` (RE2) and a value, which may be quoted: `"..."`, of an
expression also `/.../` and `|...|`. Source: github.com/containerd/containerd, pkg/filters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

from corten.errors import InvalidParameter
from corten.regex import InvalidRegex, Regex

Fields: TypeAlias = Callable[[str], str | None]
"""The value of a field, None = the thing has no such field."""
Selector: TypeAlias = Callable[[Fields], bool]

T = TypeVar("T")

_SELECTOR = re.compile(
    r'([A-Za-z_][\w.]*)(?:(==|!=|~=)(?:"((?:[^"\\]|\\.)*)"|/([^/]*)/|\|([^|]*)\||([^,"/|][^,]*|(?=,|$))))?(?:,|$)'
)


def parse_selectors(texts: Sequence[str]) -> Selector:
    """Whether a thing is meant; without any text everything is. Raises InvalidParameter."""
    return any_of(texts, _parse)


def any_of(texts: Sequence[str], parse: Callable[[str], list[Callable[[T], bool]]]) -> Callable[[T], bool]:
    """Whether all that `parse` finds in one of the texts holds; without any text everything is meant."""
    alternatives = [parse(text) for text in texts if text]
    if not alternatives:
        return lambda thing: True
    return lambda thing: any(all(each(thing) for each in group) for group in alternatives)


def _parse(text: str) -> list[Selector]:
    found: list[Selector] = []
    at = 0
    while at < len(text):
        match = _SELECTOR.match(text, at)
        if match is None:
            raise InvalidParameter(f"filters: parse error: [{text[:at]} >|{text[at:]}|<]")
        name, operator, quoted, *plain = match.groups()
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else next(filter(None, plain), "")
        found.append(_selector(name, operator, value))
        at = match.end()
    return found


def _selector(name: str, operator: str | None, value: str) -> Selector:
    if operator == "==":
        return lambda fields: fields(name) == value
    if operator == "!=":
        return lambda fields: fields(name) != value
    if operator == "~=":
        try:
            expression = Regex(value)
        except InvalidRegex as error:
            raise InvalidParameter(f"filters: {error}") from error
        return lambda fields: expression.found_in(fields(name) or "")
    return lambda fields: fields(name) is not None
