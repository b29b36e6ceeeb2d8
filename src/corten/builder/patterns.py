r"""Go's filepath.Match, component by component: `*`, `?`, `[a-z]`, `[^a]`, `\` before any character.

`Pattern` adds `**` as a component of its own: any number of components, also none.
Matching takes time proportional to pattern x name, whatever somebody wrote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


class InvalidPattern(ValueError):
    """The pattern is malformed (Go's ErrBadPattern)."""


def has_wildcards(text: str) -> bool:
    """Whether the text is more than a literal name."""
    return any(char in text for char in "*?[")


def unescaped(text: str) -> str:
    """The literal name that a pattern without wildcards stands for."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


class Pattern:
    """A slash-separated pattern, matched against the components of a path."""

    __slots__ = ("_components",)

    def __init__(self, text: str) -> None:
        """Raises InvalidPattern."""
        self._components: list[re.Pattern[str] | None] = []
        for component in text.split("/"):
            if component == "**":
                self._components.append(None)
                continue
            if component.startswith("**"):
                self._components.append(None)
                component = component.lstrip("*")
            self._components.append(component_regex(component))

    def matches(self, components: Sequence[str], *, below: bool = False) -> bool:
        """Whether the pattern matches the path, or (`below`) a directory above it."""
        end = len(self._components)
        states = self._skipped({0})
        for name in components:
            if below and end in states:
                return True
            states = self._skipped(self._after(states, name))
            if not states:
                return False
        return end in states

    def _after(self, states: set[int], name: str) -> set[int]:
        following = set()
        for state in states:
            if state == len(self._components):
                continue
            component = self._components[state]
            if component is None:
                following.add(state)
            elif component.fullmatch(name):
                following.add(state + 1)
        return following

    def _skipped(self, states: set[int]) -> set[int]:
        """With those reached by letting `**` stand for nothing."""
        closed = set(states)
        for state in sorted(states):
            while state < len(self._components) and self._components[state] is None:
                state += 1
                closed.add(state)
        return closed


def component_regex(pattern: str) -> re.Pattern[str]:
    r"""One component as a regular expression for `fullmatch`.

    Each `*` takes as little as lets what follows it match, and never more afterwards (atomic groups):
    that is enough for globs and keeps matching linear.

    >>> bool(component_regex("[^a-c]?*.tx[t]").fullmatch("dog.txt"))
    True
    """
    chunks = [""]
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            chunks.append("")
        elif char == "?":
            chunks[-1] += "[^/]"
        elif char == "[":
            group, at = _class(pattern, at)
            chunks[-1] += group
        elif char == "\\":
            if at >= len(pattern):
                raise InvalidPattern(pattern)
            chunks[-1] += re.escape(pattern[at])
            at += 1
        else:
            chunks[-1] += re.escape(char)
    first, *rest = chunks
    if not rest:
        return re.compile(first, re.DOTALL)
    *middle, last = rest
    stars = "".join(f"(?>[^/]*?{chunk})" for chunk in middle if chunk)
    return re.compile(f"{first}{stars}[^/]*{last}", re.DOTALL)


def _class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while at >= len(pattern) or pattern[at] != "]" or not ranges:
        low, at = _class_char(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _class_char(pattern, at + 1)
        # An empty range matches nothing, as no name holds a NUL.
        ranges.append(f"{_literal(low)}-{_literal(high)}" if low <= high else "\\x00")
    return f"[{'^/' if negated else ''}{''.join(ranges)}]", at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern) or pattern[at] in "-]":
        raise InvalidPattern(pattern)
    at += pattern[at] == "\\"
    if at >= len(pattern):
        raise InvalidPattern(pattern)
    return pattern[at], at + 1


def _literal(char: str) -> str:
    return f"\\{char}" if char in "\\]^-[&~|" else char
