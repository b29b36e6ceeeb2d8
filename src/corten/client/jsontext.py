"""JSON text without the `json` package, whose import costs three times the parsing (it needs `re`).

Decoding is done by the C scanner that `json` itself uses (`_json.make_scanner`); where an interpreter
has none, `json` stands in. Encoding is small enough to be written out. RFC 8259.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BLANKS = " \t\r\n"

_scan: Callable[[str, int], tuple[Any, int]]

try:
    from _json import encode_basestring as _quote
    from _json import make_scanner as _make_scanner

    class _Rules:
        """What `make_scanner` asks of its argument."""

        strict = False
        object_hook = None
        object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = float
        memo: dict[str, str] = {}  # noqa: RUF012 (the scanner's own scratch)

    _rules: Any = _Rules()
    _scan = _make_scanner(_rules)
except ImportError:  # an interpreter without the accelerator
    import json

    _scan = json.JSONDecoder(strict=False).raw_decode

    def _quote(s: str, /) -> str:
        return json.dumps(s, ensure_ascii=False)


def loads(text: str | bytes) -> Any:
    """Decode one JSON text, blanks around it allowed; raises ValueError."""
    value, end = scan(text.decode("utf-8", "replace") if isinstance(text, bytes) else text, 0)
    if end != len(text) and isinstance(text, str) and text[end:].strip(_BLANKS):
        raise ValueError(f"extra data after JSON text at {end}")
    return value


def scan(text: str, start: int) -> tuple[Any, int]:
    """Decode the JSON text that begins at `start` (blanks skipped); give the value and its end."""
    while start < len(text) and text[start] in _BLANKS:
        start += 1
    try:
        return _scan(text, start)
    except StopIteration as e:
        raise ValueError(f"no JSON text at {start}") from e


def dumps(value: Any) -> str:
    """Encode without blanks, keys in their order."""
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quote(str(k))}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dumps, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def dumps_indented(value: Any, indent: str = "    ", margin: str = "") -> str:
    """Encode over many lines as Go's `json.MarshalIndent` does: empty containers stay on one line."""
    inner = margin + indent
    if isinstance(value, dict) and value:
        rows = [f"{inner}{_quote(str(k))}: {dumps_indented(v, indent, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{margin}}}"
    if isinstance(value, list | tuple) and value:
        rows = [inner + dumps_indented(v, indent, inner) for v in value]
        return "[\n" + ",\n".join(rows) + f"\n{margin}]"
    return dumps(value)


def escape_html(text: str) -> str:
    """Escape &, < and > inside JSON text as Go's encoder does by default."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
