"""`.dockerignore`: which files stay out of a build context. Docker's rules on top of Go's filepath.Match.

Patterns are relative to the context's root; a pattern that matches a folder matches everything in it; `**`
stands for any number of folders; `!` takes files back in; the last matching pattern decides.
"""

from __future__ import annotations

import posixpath
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class IgnoreError(ValueError):
    """A pattern cannot be understood."""


class _Rule:
    __slots__ = ("_literal", "_regex", "takes_back")

    def __init__(self, text: str) -> None:
        self.takes_back = text.startswith("!")
        pattern = posixpath.normpath(text.removeprefix("!").strip()).lstrip("/")
        if self.takes_back and not text[1:].strip():
            raise IgnoreError('illegal exclusion pattern: "!"')
        self._regex = re.compile(_translate(pattern) + r"(?:/.*)?\Z", re.DOTALL)
        self._literal = re.split(r"[*?\[\\]", pattern)[0]

    def matches(self, path: str) -> bool:
        return self._regex.match(path) is not None

    def may_match_below(self, folder: str) -> bool:
        """Whether some path in this folder could match."""
        prefix = folder + "/"
        return self._literal.startswith(prefix) or prefix.startswith(self._literal) or self.matches(folder)


class Ignore:
    """The rules of a `.dockerignore`."""

    __slots__ = ("_rules",)

    def __init__(self, lines: Iterable[str]) -> None:
        texts = (line.strip() for line in lines if not line.startswith("#"))
        self._rules = [_Rule(text) for text in texts if text and text not in (".", "./")]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def excludes(self, path: str) -> bool:
        """Whether a path (relative, with slashes) stays out."""
        out = False
        for rule in self._rules:
            if rule.takes_back == out and rule.matches(path):
                out = not out
        return out

    def prunes(self, folder: str) -> bool:
        """Whether an excluded folder need not be walked: nothing in it can be taken back."""
        return not any(rule.takes_back and rule.may_match_below(folder) for rule in self._rules)


def _translate(pattern: str) -> str:
    """A pattern as a regular expression for whole paths."""
    out = ""
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                at += 1
                out += "(?:.*/)?"
            else:
                out += ".*"
            continue
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[":
            chars, at = _class(pattern, at)
            out += chars
            continue
        elif char == "\\":
            at += 1
            if at == len(pattern):
                raise IgnoreError(f"syntax error in pattern: {pattern}")
            out += re.escape(pattern[at])
        else:
            out += re.escape(char)
        at += 1
    return out


def _class(pattern: str, start: int) -> tuple[str, int]:
    """A character class from its bracket on; a backslash quotes the next character."""
    at = start + 1
    negated = pattern.startswith("^", at)
    at += negated
    chars = ""
    while at < len(pattern) and (pattern[at] != "]" or not chars):
        if pattern[at] == "\\":
            at += 1
        chars += re.escape(pattern[at : at + 1]) if pattern[at : at + 1] != "-" else "-"
        at += 1
    if at >= len(pattern):
        raise IgnoreError(f"syntax error in pattern: {pattern}")
    return f"[{'^' if negated else ''}{chars}]", at + 1
