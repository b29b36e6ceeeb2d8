"""Cutting an instruction's text into words, with quotes and escapes kept as they are."""

from __future__ import annotations

BLANKS = " \t\v\f\r\n"


def split_words(text: str, escape: str) -> list[str]:
    r"""Split at blanks that are neither quoted nor escaped; quotes and escapes stay in the words.

    An unclosed quote reaches to the end of the text. An escape inside single quotes means nothing.

    >>> split_words(r"a='x y' b=\ c", "\\")
    ["a='x y'", 'b=\\ c']
    """
    words: list[str] = []
    word = ""
    quote = ""
    in_word = False
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if not quote and char in BLANKS:
            if in_word:
                words.append(word)
            word, in_word = "", False
            continue
        in_word = True
        word += char
        if char == escape and quote != "'":
            word += text[at : at + 1]
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
    if in_word:
        words.append(word)
    return words


def unquote(word: str, escape: str) -> str:
    """The word without its quotes and escapes, as a shell would read it (no variables)."""
    out = ""
    quote = ""
    at = 0
    while at < len(word):
        char = word[at]
        at += 1
        if char == escape and quote != "'":
            out += word[at : at + 1]
            at += 1
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            out += char
    return out
