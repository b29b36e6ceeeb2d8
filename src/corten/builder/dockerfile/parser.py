"""Logical lines → nodes: the keyword, its flags, and its arguments in the form that the keyword has.

A node knows nothing of what the instruction means; `typed` does. Forms of arguments:

    words      FROM EXPOSE            split at blanks
    text       USER WORKDIR ...       the rest of the line, as it is
    shell      RUN CMD ENTRYPOINT     a JSON array of strings, else the rest of the line as one argument
    paths      COPY ADD VOLUME        a JSON array of strings, else words
    pairs      ENV LABEL              name=value words, or the legacy `name value`
    names      ARG                    words with quotes kept
    health     HEALTHCHECK            type, then as shell
    nested     ONBUILD                an instruction
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from corten.builder.dockerfile.directives import Directives, parse_directives
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.lexer import Heredoc, LogicalLine, logical_lines, split_lines
from corten.builder.dockerfile.rules import RULES, Finding
from corten.builder.dockerfile.words import split_words
from corten.builder.goquote import go_quote

_BLANKS = re.compile(r"[\t\v\f\r ]+")
MAX_BYTES = 4 << 20  # far above any real Dockerfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One instruction. `args` of pairs are name, value, name, value, ...; `json`: the JSON form was used.

    `legacy`: ENV or LABEL in the form `name value`. `child`: the instruction behind ONBUILD.
    """

    keyword: str
    original: str
    start: int
    end: int
    flags: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    json: bool = False
    legacy: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    child: Node | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A parsed file."""

    directives: Directives
    nodes: tuple[Node, ...]
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Arguments:
    args: tuple[str, ...]
    json: bool = False
    legacy: bool = False
    child: Node | None = None


def parse(source: str | bytes) -> Tree:
    """Parse a Dockerfile. Raises DockerfileError."""
    if len(source) > MAX_BYTES:
        raise DockerfileError(f"dockerfile larger than {MAX_BYTES} bytes", located=False)
    text = source.decode(errors="replace") if isinstance(source, bytes) else source
    lines = split_lines(text)
    directives = parse_directives(lines)
    for _, number in directives.lines:
        lines[number - 1] = ""  # not a comment about what comes next
    nodes, warnings = [], []
    for line in logical_lines(lines, directives.escape):
        nodes.append(parse_line(line, directives.escape))
        if line.empty_continuation:
            rule = RULES["NoEmptyContinuation"]
            warnings.append(Finding(rule, "Empty continuation line", line.end, line.end))
    if not nodes:
        raise DockerfileError("file with no instructions", line=len(lines), located=False)
    return Tree(directives=directives, nodes=tuple(nodes), warnings=tuple(warnings))


def parse_line(line: LogicalLine, escape: str) -> Node:
    """One logical line to its node; an unknown keyword is taken like a text and left to `typed`."""
    original = line.text.strip()
    pieces = _BLANKS.split(original, maxsplit=1)
    keyword = pieces[0].lower()
    flags, rest = split_flags(pieces[1].strip() if len(pieces) > 1 else "", escape)
    try:
        found = _FORMS.get(keyword, _text)(rest, keyword, escape)
    except DockerfileError as error:
        raise DockerfileError(error.message, line=line.start, end_line=line.end, located=False) from None
    if keyword == "onbuild" and rest:
        found = _Arguments((), child=_trigger(line, rest, escape))
    return Node(
        keyword=keyword,
        original=original,
        start=line.start,
        end=line.end,
        flags=flags,
        args=found.args,
        json=found.json,
        legacy=found.legacy,
        heredocs=line.heredocs,
        comments=line.comments,
        child=found.child,
    )


def _trigger(line: LogicalLine, rest: str, escape: str) -> Node:
    if rest.split(None, 1)[0].lower() == "onbuild":
        # Refused here already: following the chain would recurse as deep as the line is long.
        message = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
        raise DockerfileError(message, line=line.start, end_line=line.end)
    behind = LogicalLine(text=rest, start=line.start, end=line.end, heredocs=line.heredocs)
    return parse_line(behind, escape)


def split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    r"""Take the leading `--flag` words off; a lone `--` ends them. Quotes are removed from flags.

    >>> split_flags("--from=a --chown='x y' b c", "\\")
    (('--from=a', '--chown=x y'), 'b c')
    """
    flags = []
    rest = text
    while rest.startswith("--"):
        word, end = _flag_word(rest, escape)
        rest = rest[end:].lstrip()
        if word == "--":
            break
        flags.append(word)
    return tuple(flags), rest


def _flag_word(text: str, escape: str) -> tuple[str, int]:
    word, quote, at = "", "", 0
    while at < len(text):
        char = text[at]
        if not quote and char in " \t":
            break
        at += 1
        if char == escape and at < len(text):
            word += text[at]
            at += 1
        elif quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            word += char
    return word, at


def _words(rest: str, keyword: str, escape: str) -> _Arguments:
    return _Arguments(tuple(_BLANKS.split(rest)) if rest else ())


def _text(rest: str, keyword: str, escape: str) -> _Arguments:
    return _Arguments((rest,) if rest else ())


def _names(rest: str, keyword: str, escape: str) -> _Arguments:
    return _Arguments(tuple(split_words(rest, escape)))


def _shell(rest: str, keyword: str, escape: str) -> _Arguments:
    array = parse_json_array(rest)
    return _text(rest, keyword, escape) if array is None else _Arguments(array, json=True)


def _paths(rest: str, keyword: str, escape: str) -> _Arguments:
    array = parse_json_array(rest)
    return _words(rest, keyword, escape) if array is None else _Arguments(array, json=True)


def parse_json_array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None if the text is not JSON (then it is in shell form).

    Raises DockerfileError if it is an array of something else than strings.
    """
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str) for item in value):
        raise DockerfileError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(item.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for item in value)


def _pairs(rest: str, keyword: str, escape: str) -> _Arguments:
    words = split_words(rest, escape)
    if not words:
        return _Arguments(())
    if "=" not in words[0]:
        pieces = _BLANKS.split(rest, maxsplit=1)
        if len(pieces) < 2:
            raise DockerfileError(f"{keyword.upper()} must have two arguments")
        return _Arguments((pieces[0], pieces[1]), legacy=True)
    args: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise DockerfileError(
                f"Syntax error - can't find = in {go_quote(word)}. Must be of the form: name=value"
            )
        args += (name, value)
    return _Arguments(tuple(args))


def _health(rest: str, keyword: str, escape: str) -> _Arguments:
    kind, *command = _BLANKS.split(rest, maxsplit=1)
    if not kind:
        return _Arguments(())
    found = _shell("".join(command), keyword, escape)
    return _Arguments((kind, *found.args), json=found.json)


_FORMS: dict[str, Callable[[str, str, str], _Arguments]] = {
    "from": _words,
    "expose": _words,
    "run": _shell,
    "cmd": _shell,
    "entrypoint": _shell,
    "shell": _shell,
    "copy": _paths,
    "add": _paths,
    "volume": _paths,
    "env": _pairs,
    "label": _pairs,
    "arg": _names,
    "healthcheck": _health,
}
