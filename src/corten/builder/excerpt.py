"""Pieces of a Dockerfile with line numbers, as BuildKit shows where something is wrong.

Source: moby/buildkit, solver/errdefs (what it prints; the layout is what its clients' users know).
"""

from __future__ import annotations

_RULER = "--------------------\n"


def excerpt(text: str, filename: str, line: int, end_line: int = 0) -> str:
    r"""The lines, marked, with some before and behind; "" if the text has no such line.

    >>> print(excerpt("FROM a\nRUN x", "Dockerfile", 2), end="")
    Dockerfile:2
    --------------------
       1 |     FROM a
       2 | >>> RUN x
    --------------------
    """
    lines = text.split("\n")
    end_line = min(max(line, end_line), len(lines))
    if not 1 <= line <= len(lines):
        return ""
    first, last = line, end_line
    wanted = 4 if line == end_line else 2
    shown = 0
    while shown < wanted:
        if first > 1:
            first -= 1
            shown += 1
        if last != len(lines):
            last += 1
            shown += 1
        shown += 1
    out = f"{filename}:{line}\n{_RULER}"
    for number in range(first, last + 1):
        mark = ">>>" if line <= number <= end_line else "   "
        out += f" {number:3d} | {mark} {lines[number - 1]}\n"
    return out + _RULER
