"""`.dockerignore`: which paths of a context do not belong to it. Also the patterns of `COPY --exclude`.

Docker's rules: Go's filepath.Match per path component, `**` for any number of components, a pattern
also matches everything below what it matches, `!` takes back, the last pattern that matches decides.
Patterns are relative to the root; a leading slash means nothing; `#` begins a comment line.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from corten.builder.patterns import InvalidPattern, Pattern
from corten.errors import InvalidParameter


def read_ignore_file(text: str) -> list[str]:
    """The patterns of a `.dockerignore`, cleaned, in order."""
    patterns = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#"):
            continue
        line = line.strip()
        if not line:
            continue
        taken_back = line.startswith("!")
        path = line[1:].strip() if taken_back else line
        if path:
            path = posixpath.normpath(path).lstrip("/") or "."
        patterns.append(f"!{path}" if taken_back else path)
    return patterns


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: Pattern
    ignores: bool


class IgnoreMatcher:
    """Decides for slash-separated paths relative to the root."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises InvalidParameter for a pattern that is none."""
        self._rules = [_rule(pattern) for pattern in patterns]
        self.takes_back = any(not rule.ignores for rule in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def ignores(self, path: str) -> bool:
        """Whether the path is left out, by its own name or by that of a directory above it.

        >>> IgnoreMatcher(["*.md", "!README.md"]).ignores("README.md")
        False
        """
        components = path.split("/")
        ignored = False
        for rule in self._rules:
            if rule.ignores != ignored and rule.pattern.matches(components, below=True):
                ignored = rule.ignores
        return ignored

    def ignores_all_below(self, directory: str) -> bool:
        """Whether nothing below an ignored directory can be wanted, so that it need not be looked into."""
        return not self.takes_back and self.ignores(directory)


def _rule(text: str) -> _Rule:
    ignores = not text.startswith("!")
    path = text.removeprefix("!").strip()
    if not path:
        raise InvalidParameter(f'illegal exclusion pattern: "{text}"')
    path = posixpath.normpath(path).lstrip("/")
    try:
        return _Rule(Pattern("**" if path in (".", "") else path), ignores)
    except InvalidPattern:
        raise InvalidParameter(f"syntax error in pattern: {text}") from None
