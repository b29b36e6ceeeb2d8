"""The value of `--chmod`: octal, or chmod(1)'s symbolic form (`u=rwX,go=rX`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from corten.errors import InvalidParameter

ChangeMode: TypeAlias = "Callable[[int, bool], int]"
"""From a file's permission bits and whether it is a directory to its new ones."""

_OCTAL = re.compile(r"[0-7]{1,4}", re.ASCII)
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)", re.ASCII)
_CHANGE = re.compile(r"([-+=])([ugo]|[rwxXst]*)", re.ASCII)
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


def parse_mode(text: str) -> ChangeMode:
    """Raises InvalidParameter for what is no mode.

    >>> oct(parse_mode("u=rwX,go=rX")(0o600, True)), oct(parse_mode("755")(0, False))
    ('0o755', '0o755')
    """
    if _OCTAL.fullmatch(text):
        octal = int(text, 8)
        return lambda mode, is_dir: octal
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]
    if not all(clauses):
        raise InvalidParameter(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    changes = [
        (clause[1] or "a", change[1], change[2])
        for clause in clauses
        if clause
        for change in _CHANGE.finditer(clause[2])
    ]

    def change_mode(mode: int, is_dir: bool) -> int:
        for who, operator, what in changes:
            mode = _changed(mode, is_dir, who, operator, what)
        return mode

    return change_mode


def _changed(mode: int, is_dir: bool, who: str, operator: str, what: str) -> int:
    classes = "ugo" if "a" in who else who
    affected = sum(7 << _SHIFT[each] for each in classes)
    value = 0
    for each in classes:
        value |= _permissions(mode, is_dir, what) << _SHIFT[each]
    if "s" in what:
        value |= (0o4000 if "u" in classes else 0) | (0o2000 if "g" in classes else 0)
    if "t" in what:
        value |= 0o1000
    if operator == "+":
        return mode | value
    if operator == "-":
        return mode & ~value
    return (mode & ~affected) | value


def _permissions(mode: int, is_dir: bool, what: str) -> int:
    if what in _SHIFT and what:
        return (mode >> _SHIFT[what]) & 7
    bits = sum(_BITS[char] for char in set(what) if char in _BITS)
    if "X" in what and (is_dir or mode & 0o111):
        bits |= 1
    return bits
