"""Physical lines → logical lines: continuations, comments, blank lines and heredoc bodies.

The rules (Dockerfile reference, "Format" and "Here-documents"):

- a line whose first non-blank character is `#` is a comment, also between the lines of a continuation;
- the escape character at the end of a line (blanks may follow; not doubled) joins the next one to it;
- an empty line inside a continuation is skipped, with a warning;
- the bodies of heredocs follow the logical line that opens them, as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.words import split_words, unquote

_HEREDOC = re.compile(r"^(\d*)<<(-?)[ \t]*([^<]*)$")
_OPERATOR = re.compile(r"\d*<<-?")
_NAME = re.compile(r"""(['"]?)[A-Za-z_][\w.-]*\1""")
_MAY_HAVE_HEREDOCS = ("add", "copy", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """`<<NAME` and its body. `expand`: variables are substituted; `chomp`: `<<-`, leading tabs go."""

    name: str
    expand: bool
    chomp: bool
    fd: int = 0
    content: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalLine:
    """One instruction's text with its line range (from 1, inclusive) and what belongs to it."""

    text: str
    start: int
    end: int
    comments: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    empty_continuation: bool = False


def split_lines(text: str) -> list[str]:
    r"""The file's physical lines without `\n` and without a byte order mark; a `\r` before it stays.

    A line of a Dockerfile may end with `\r\n`, but in the body of a heredoc that is content.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines


def logical_lines(lines: list[str], escape: str) -> Iterator[LogicalLine]:
    """Join physical lines; raises DockerfileError for a heredoc that never ends."""
    ends_open = re.compile(rf"(?:^|(?<=[^{re.escape(escape)}])){re.escape(escape)}[ \t]*$")
    comments: list[str] = []
    at = 0
    while at < len(lines):
        stripped = lines[at].lstrip()
        at += 1
        if stripped.startswith("#"):
            comment = stripped[1:].strip()
            comments = [*comments, comment] if comment else []
            continue
        if not stripped:
            comments = []
            continue
        start = at
        text, is_open = _trim_escape(stripped, ends_open)
        empty = False
        while is_open and at < len(lines):
            following = lines[at]
            at += 1
            if following.lstrip().startswith("#"):
                continue
            if not following.strip():
                empty = True
                continue
            piece, is_open = _trim_escape(following, ends_open)
            text += piece
        heredocs, at = _read_heredocs(text, lines, at, escape, start)
        if text.strip():
            yield LogicalLine(
                text=text,
                start=start,
                end=at,
                comments=tuple(comments),
                heredocs=heredocs,
                empty_continuation=empty,
            )
        comments = []


def _trim_escape(line: str, ends_open: re.Pattern[str]) -> tuple[str, bool]:
    line = line.rstrip("\r")
    match = ends_open.search(line)
    return (line[: match.start()], True) if match else (line, False)


def _read_heredocs(
    text: str, lines: list[str], at: int, escape: str, start: int
) -> tuple[tuple[Heredoc, ...], int]:
    heredocs = []
    for opened in find_heredocs(text, escape):
        body = []
        while True:
            if at >= len(lines):
                raise DockerfileError("unterminated heredoc", line=start, end_line=at, located=False)
            line = lines[at]
            at += 1
            if opened.chomp:
                line = line.lstrip("\t")
            if line.rstrip("\r") == opened.name:
                break
            body.append(line + "\n")
        heredocs.append(
            Heredoc(
                name=opened.name,
                expand=opened.expand,
                chomp=opened.chomp,
                fd=opened.fd,
                content="".join(body),
            )
        )
    return tuple(heredocs), at


def find_heredocs(text: str, escape: str) -> list[Heredoc]:
    """The heredocs that a logical line opens, in order, still without their bodies.

    Only RUN, COPY and ADD (also behind ONBUILD) have them, and not in their JSON form.
    """
    if "<<" not in text:
        return []
    keyword, _, rest = text.strip().partition(" ")
    if keyword.lower() == "onbuild":
        keyword, _, rest = rest.strip().partition(" ")
    if keyword.lower() not in _MAY_HAVE_HEREDOCS or rest.lstrip().startswith("["):
        return []
    words = split_words(rest, escape)
    if keyword.lower() == "run":
        words = _joined(words)
    return [heredoc for word in words if (heredoc := parse_heredoc(word, escape))]


def _joined(words: list[str]) -> list[str]:
    """With `<< NAME` as one word, as shells have it; `$((1 << 2))` names nothing."""
    joined: list[str] = []
    for word in words:
        if joined and _OPERATOR.fullmatch(joined[-1]) and _NAME.fullmatch(word):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def parse_heredoc(word: str, escape: str) -> Heredoc | None:
    """Parse `<<EOF`, `<<-EOF`, `3<<"EOF"`; None if the word is something else.

    >>> parse_heredoc("<<-'END'", chr(92))
    Heredoc(name='END', expand=False, chomp=True, fd=0, content='')
    """
    match = _HEREDOC.match(word)
    if match is None or not match[3]:
        return None
    name = unquote(match[3], escape)
    if not name or len(split_words(match[3], escape)) != 1:
        return None
    fd = int(match[1][:9]) if match[1] else 0
    return Heredoc(name=name, expand=name == match[3], chomp=bool(match[2]), fd=fd)
