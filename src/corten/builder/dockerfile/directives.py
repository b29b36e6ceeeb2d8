"""Parser directives: `# key=value` comments at the very top of a Dockerfile."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.rules import Check, parse_check

_DIRECTIVE = re.compile(r"^\s*#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_KNOWN = ("syntax", "escape", "check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """All directives of a file. `lines` says on which line each was found."""

    syntax: str | None = None
    escape: str = "\\"
    check: Check = field(default_factory=Check)
    lines: tuple[tuple[str, int], ...] = ()


def parse_directives(lines: list[str]) -> Directives:
    """Read the directives that open the file.

    The first line that is not `# key=value` with a key that is known ends them. A key may come once.
    """
    found = Directives()
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.match(line)
        if match is None or match[1].lower() not in _KNOWN:
            break
        key, value = match[1].lower(), match[2]
        if any(key == seen for seen, _ in found.lines):
            raise DockerfileError(f"only one {key} parser directive can be used", line=number, located=False)
        found = _with(found, key, value, number)
    return found


def _with(found: Directives, key: str, value: str, number: int) -> Directives:
    lines = (*found.lines, (key, number))
    if key == "syntax":
        return replace(found, syntax=value, lines=lines)
    if key == "check":
        return replace(found, check=parse_check(value), lines=lines)
    if value not in ("\\", "`"):
        raise DockerfileError(
            f"invalid escape token '{value}' does not match ` or \\", line=number, located=False
        )
    return replace(found, escape=value, lines=lines)
