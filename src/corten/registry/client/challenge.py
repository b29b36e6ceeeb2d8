"""Parsing WWW-Authenticate: RFC 9110 section 11.6.1, with several challenges in one or more headers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*({_WORD})(?=\s|,|$)")
_PARAMETER = re.compile(rf'[\s,]*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))')
_SEPARATOR = re.compile(r"[\s,]*")
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate; `scheme` and parameter names in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All challenges of the headers in their order; what cannot be understood ends a header."""
    found: list[Challenge] = []
    for header in headers:
        at = 0
        text = header[:_LONGEST]
        while (match := _SCHEME.match(text, at)) is not None:
            at = match.end()
            parameters: dict[str, str] = {}
            while (parameter := _PARAMETER.match(text, at)) is not None:
                quoted = parameter[2]
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
                parameters[parameter[1].lower()] = value
                at = parameter.end()
            found.append(Challenge(match[1].lower(), parameters))
            separator = _SEPARATOR.match(text, at)
            at = separator.end() if separator else at
    return found
