"""Outcomes as rows of text that can be compared and read."""

import difflib
import re

_ID = re.compile(r"<id (\d+)")


def rows(outcomes: list[dict[str, object]]) -> list[str]:
    """One row a command, status and line of output; ids numbered by their first appearance in these rows."""
    found: list[str] = []
    for outcome in outcomes:
        found += [f"$ {outcome['line']}", f"exit status {outcome['status']}"]
        for stream in ("stdout", "stderr"):
            found += [f"{stream}: {row}" for row in str(outcome[stream]).splitlines()]
    numbers: dict[str, str] = {}
    return [
        _ID.sub(lambda match: f"<id {numbers.setdefault(match[1], str(len(numbers) + 1))}", row)
        for row in found
    ]


def report(expected: list[str], actual: list[str]) -> str:
    """What differs, under the command that it belongs to."""
    lines, command = [], ""
    for row in difflib.ndiff(expected, actual):
        if row.startswith("  $ "):
            command = row[2:]
        elif row[0] in "+-":
            if command:
                lines.append(command)
                command = ""
            lines.append(row)
    return "\n".join(["- dockerd   + corten", *lines])
