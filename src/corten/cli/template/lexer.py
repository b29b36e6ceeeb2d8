"""Template text to pieces: plain text, and actions as lists of tokens (Go's text/template)."""

from __future__ import annotations

_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}
_BLANKS = " \t\r\n"


class TemplateError(ValueError):
    """The template cannot be understood, or not be applied to the data."""


class Token:
    """`kind` is name, field, dot, variable, string, number or punct; `column` counts from 0.

    `glued`: nothing between it and the last one.
    """

    __slots__ = ("column", "glued", "kind", "text", "value")

    def __init__(self, kind: str, text: str, *, glued: bool = False, value: object = None) -> None:
        self.kind = kind
        self.text = text
        self.glued = glued
        self.column = 0
        self.value = text if value is None else value


def split(source: str) -> list[str | list[Token]]:
    """Texts and actions in their order; `{{-` and `-}}` have trimmed the texts beside, comments are gone."""
    pieces: list[str | list[Token]] = []
    at = 0
    trim = False
    while True:
        start = source.find("{{", at)
        text = source[at:] if start < 0 else source[at:start]
        if trim:
            text = text.lstrip(_BLANKS)
        if (
            start >= 0
            and source[start + 2 : start + 3] == "-"
            and source[start + 3 : start + 4] in tuple(_BLANKS)
        ):
            text = text.rstrip(_BLANKS)
            inside = start + 3
        else:
            inside = start + 2
        if text:
            pieces.append(text)
        if start < 0:
            return pieces
        tokens, at, trim = _action(source, inside)
        if tokens is not None:
            pieces.append(tokens)


def _action(source: str, at: int) -> tuple[list[Token] | None, int, bool]:
    stripped = source[at:].lstrip(_BLANKS)
    if stripped.startswith("/*"):
        return _comment(source, at)
    tokens: list[Token] = []
    glued = False
    while at < len(source):
        if source.startswith("}}", at):
            return tokens, at + 2, False
        if source[at] in _BLANKS:
            if source.startswith("-}}", at + 1):
                return tokens, at + 4, True
            at += 1
            glued = False
            continue
        column = at - source.rfind("\n", 0, at) - 1
        token, at = _token(source, at)
        token.column = column
        token.glued = glued
        tokens.append(token)
        glued = True
    raise TemplateError("unclosed action")


def _comment(source: str, at: int) -> tuple[None, int, bool]:
    end = source.find("*/", at)
    if end < 0:
        raise TemplateError("unclosed comment")
    rest = source[end + 2 :]
    for mark, trim in (("}}", False), (" -}}", True)):
        if rest.startswith(mark):
            return None, end + 2 + len(mark), trim
    raise TemplateError("comment ends before closing delimiter")


def _token(source: str, at: int) -> tuple[Token, int]:
    char = source[at]
    if char in '"`':
        return _string(source, at)
    if char == "'":
        return _char(source, at)
    if char == ".":
        end = _word_end(source, at + 1)
        if end > at + 1 and not source[at + 1].isdigit():
            return Token("field", source[at + 1 : end]), end
        return Token("dot", "."), at + 1
    if char == "$":
        end = _word_end(source, at + 1)
        return Token("variable", source[at:end]), end
    if char.isdigit() or (char in "+-" and source[at + 1 : at + 2].isdigit()):
        return _number(source, at)
    if char.isalpha() or char == "_":
        end = _word_end(source, at)
        return Token("name", source[at:end]), end
    if source.startswith(":=", at):
        return Token("punct", ":="), at + 2
    if char in "|(),=":
        return Token("punct", char), at + 1
    raise TemplateError(f"unexpected {char!r} in command")


def _word_end(source: str, at: int) -> int:
    while at < len(source) and (source[at].isalnum() or source[at] == "_"):
        at += 1
    return at


def _string(source: str, start: int) -> tuple[Token, int]:
    if source[start] == "`":
        end = source.find("`", start + 1)
        if end < 0:
            raise TemplateError("unterminated raw quoted string")
        return Token("string", source[start : end + 1], value=source[start + 1 : end]), end + 1
    value, at = _quoted(source, start, '"', "unterminated quoted string")
    return Token("string", source[start:at], value=value), at


def _char(source: str, start: int) -> tuple[Token, int]:
    value, at = _quoted(source, start, "'", "unterminated character constant")
    if len(value) != 1:
        raise TemplateError(f"malformed character constant: {source[start:at]}")
    return Token("number", source[start:at], value=ord(value)), at


def _quoted(source: str, at: int, quote: str, unterminated: str) -> tuple[str, int]:
    value: list[str] = []
    at += 1
    while at < len(source) and source[at] != "\n":
        char = source[at]
        if char == quote:
            return "".join(value), at + 1
        if char == "\\":
            at += 1
            escape = source[at : at + 1]
            width = {"x": 2, "u": 4, "U": 8}.get(escape, 0)
            if width:
                value.append(chr(int(source[at + 1 : at + 1 + width], 16)))
                at += width
            elif escape in _ESCAPES:
                value.append(_ESCAPES[escape])
            else:
                raise TemplateError("invalid syntax")
        else:
            value.append(char)
        at += 1
    raise TemplateError(unterminated)


def _number(source: str, start: int) -> tuple[Token, int]:
    end = start + 1
    while end < len(source) and (source[end].isalnum() or source[end] in "._"):
        end += 1
    text = source[start:end]
    try:
        value: int | float = int(text, 0)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            raise TemplateError(f'bad number syntax: "{text}"') from None
    return Token("number", text, value=value), end
