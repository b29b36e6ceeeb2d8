"""Texts as Go's `%q` and `%v` print them: Docker's messages and histories are full of them."""

from __future__ import annotations

from collections.abc import Iterable

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    **dict(zip("\a\b\f\n\r\t\v", ("\\a", "\\b", "\\f", "\\n", "\\r", "\\t", "\\v"), strict=True)),
}


def go_quote(text: str) -> str:
    r"""The text in double quotes. Source: Go, strconv.Quote.

    >>> go_quote('a"b\n' + chr(0) + "ö")
    '"a\\"b\\n\\x00ö"'
    """
    return f'"{"".join(map(_escaped, text))}"'


def go_quotes(words: Iterable[str]) -> str:
    """A list of texts: `["a" "b"]`."""
    return f"[{' '.join(map(go_quote, words))}]"


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
