"""Functions of templates: Go's own, Docker's additions, and Go's way to print and judge values."""

from __future__ import annotations

from corten.cli.table import Row
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def text_of(value: Any) -> str:
    """A value as Go's `%v` prints it: `[a b]`, `map[k:v]`, `true`, `<no value>`."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not value.is_integer():
        return repr(value)
    if isinstance(value, float):
        return f"{value:g}" if abs(value) >= 1e21 else str(int(value))
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{_inner(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_inner, value)) + "]"
    return str(value)


def _inner(value: Any) -> str:
    return "<nil>" if value is None else text_of(value)


def truth(value: Any) -> bool:
    """Whether a value counts as true: not the zero of its type, not empty."""
    return bool(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, list | tuple | str):
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise LookupError(f"index out of range: {text_of(key)}")
            value = value[key]
        else:
            raise LookupError(f"can't index item of type {type(value).__name__}")
    return value


def _slice(value: Any, *ends: int) -> Any:
    start, stop = (*ends, 0, len(value))[:2] if len(ends) != 1 else (ends[0], len(value))
    if not 0 <= start <= stop <= len(value):
        raise LookupError(f"index out of range: {stop}")
    return value[start:stop]


def _and(*values: Any) -> Any:
    return next((v for v in values if not truth(v)), values[-1])


def _or(*values: Any) -> Any:
    return next((v for v in values if truth(v)), values[-1])


def _print(*values: Any) -> str:
    """Go's Sprint: blanks only between operands that are both no strings."""
    result = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            result += " "
        result += text_of(value)
    return result


def _println(*values: Any) -> str:
    return " ".join(map(text_of, values)) + "\n"


def _printf(template: str, *values: Any) -> str:
    result, rest, at = "", list(values), 0
    while at < len(template):
        if template[at] != "%":
            result += template[at]
            at += 1
            continue
        end = at + 1
        while end < len(template) and template[end] in "+-# 0123456789.":
            end += 1
        verb, spec = template[end : end + 1], template[at + 1 : end]
        at = end + 1
        if verb == "%":
            result += "%"
        elif not rest:
            result += f"%!{verb}(MISSING)"
        else:
            result += _format(verb, spec, rest.pop(0))
    return result


def _format(verb: str, spec: str, value: Any) -> str:
    if verb in "vs":
        return f"%{spec}s" % text_of(value)
    if verb == "q":
        return f"%{spec}s" % jsontext.dumps(text_of(value))
    if verb == "t":
        return text_of(bool(value))
    if verb in "dxXoefgEGc" and isinstance(value, int | float | str):
        return f"%{spec}{verb}" % (int(value) if verb in "dxXo" else value)
    return f"%!{verb}({text_of(value)})"


def _json(value: Any) -> str:
    return value.json() if isinstance(value, Row) else jsontext.dumps(value)


def _join(values: Any, separator: str) -> str:
    return separator.join(map(text_of, values or ()))


def _title(text: str) -> str:
    """Upper-case the first letter only, as Docker's does."""
    return text[:1].upper() + text[1:]


def _pad(text: str, before: int, after: int) -> str:
    return text if not text else " " * before + text + " " * after


def _truncate(text: str, length: int) -> str:
    return text[:length]


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _escape_html(*values: Any) -> str:
    text = _print(*values)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(char, entity)
    return text


def _urlquery(*values: Any) -> str:
    from corten.client.query import quote

    return quote(_print(*values), b" ").replace(" ", "+")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _and,
    "or": _or,
    "not": lambda value: not truth(value),
    "len": len,
    "index": _index,
    "slice": _slice,
    "call": lambda function, *values: function(*values),
    "print": _print,
    "printf": _printf,
    "println": _println,
    "html": _escape_html,
    "js": lambda *values: jsontext.escape_html(jsontext.dumps(_print(*values))[1:-1]),
    "urlquery": _urlquery,
    "eq": _equal,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "json": _json,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    "join": _join,
    "title": _title,
    "lower": str.lower,
    "upper": str.upper,
    "pad": _pad,
    "truncate": _truncate,
}
