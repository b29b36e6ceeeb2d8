"""Variables and quotes in a Dockerfile's words, after POSIX sh 2.6.2 and the Dockerfile reference.

    $name ${name}
    ${name:-word} ${name-word}      word if unset (with `:` also if empty)
    ${name:+word} ${name+word}      word if set
    ${name:?word} ${name?word}      error with word if unset
    ${name#pat} ${name##pat}        without the shortest / longest prefix that matches
    ${name%pat} ${name%%pat}        without the shortest / longest suffix that matches
    ${name/pat/text} ${name//pat/text}   first / every longest match replaced

A word may hold variables again. Single quotes keep everything; in double quotes the escape character
works only before `"`, `$` and itself; elsewhere it takes the next character literally. In the body of a
heredoc quotes are ordinary characters, and the escape character is the backslash whatever the file says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.words import BLANKS

_SPECIAL = "@*#?-$!0"
_MEANINGFUL = re.compile(r"""[$'"\\`}/]""")  # somewhere: as a sign, an escape, or an end
_SIGNS = re.compile(r"""[$'"\\`]""")  # without any a text means itself, as most do
_MAX_DEPTH = 64  # of ${a:-${b:-...}}; nobody writes more, and recursion must end before Python's does
_MAX_LENGTH = 1 << 20  # of a result: doubling variables must not eat the memory


class ShellError(DockerfileError):
    """A substitution that cannot be made."""

    def __init__(self, message: str) -> None:
        super().__init__(message, located=False)


@dataclass(slots=True)
class Usage:
    """Which variables were looked up: those that had a value, and those that had none."""

    matched: set[str] = field(default_factory=set)
    unmatched: set[str] = field(default_factory=set)


def expand(word: str, env: Mapping[str, str], escape: str = "\\", usage: Usage | None = None) -> str:
    """Substitute variables and remove quotes; the result is one word whatever it contains.

    >>> expand("${a:-x}/'$b'", {})
    'x/$b'
    """
    if _SIGNS.search(word) is None:
        return word
    return "".join(_run(word, env, escape, usage).out)


def expand_words(
    word: str, env: Mapping[str, str], escape: str = "\\", usage: Usage | None = None
) -> list[str]:
    """As `expand`, but blanks outside quotes cut words, also those that come out of variables.

    >>> expand_words("$p 'a b'", {"p": "80 81"})
    ['80', '81', 'a b']
    """
    return _run(word, env, escape, usage).words()


def expand_raw(text: str, env: Mapping[str, str], usage: Usage | None = None) -> str:
    r"""As `expand`, by the rule for bodies of heredocs.

    >>> expand_raw(r'"$a" \"\$a\" \n', {"a": "1"})
    '"1" "$a" n'
    """
    return "".join(_run(text, env, "\\", usage, raw_quotes=True).out)


def expand_shown(text: str, env: Mapping[str, str], escape: str = "\\") -> str:
    """As people are shown a command: quotes stay, and so do variables that have no value.

    >>> expand_shown("echo '$a' \"$a\" $b", {"a": "1"})
    'echo \'$a\' "1" $b'
    """
    if _SIGNS.search(text) is None:
        return text
    run = _Shown(text, env, escape, Usage(), raw_quotes=False)
    run.until("")
    return "".join(run.out)


class _Piece(str):
    """Output that may be cut at blanks (unquoted); plain str is quoted."""

    __slots__ = ()


def _run(
    word: str, env: Mapping[str, str], escape: str, usage: Usage | None, raw_quotes: bool = False
) -> _Expansion:
    run = _Expansion(word, env, escape, usage or Usage(), raw_quotes)
    try:
        run.until("")
    except ShellError as error:
        quoted = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        raise ShellError(f'failed to process "{quoted}": {error}') from error
    return run


class _Modifier(NamedTuple):
    colon: bool
    symbol: str


class _Expansion:
    """One pass over a text. `out` collects results; nested words get an expansion's methods recursively."""

    def __init__(
        self, text: str, env: Mapping[str, str], escape: str, usage: Usage, raw_quotes: bool
    ) -> None:
        self.text = text
        self.env = env
        self.escape = escape
        self.usage = usage
        self.raw_quotes = raw_quotes
        self.at = 0
        self.depth = 0
        self.length = 0
        self.out: list[str] = []

    def words(self) -> list[str]:
        """The output cut at unquoted blanks; what is empty is no word, quoted or not."""
        words = [""]
        for piece in self.out:
            if not isinstance(piece, _Piece):
                words[-1] += piece
                continue
            for char in piece:
                if char in BLANKS:
                    words.append("")
                else:
                    words[-1] += char
        return [word for word in words if word]

    def emit(self, text: str, *, quoted: bool) -> None:
        self.length += len(text)
        if self.length > _MAX_LENGTH:
            raise ShellError("variable substitution gives more than 1 MiB")
        self.out.append(text if quoted else _Piece(text))

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        char = self.peek()
        self.at += len(char)
        return char

    def plain(self) -> str:
        """The characters that come next and mean nothing but themselves."""
        start = self.at
        found = _MEANINGFUL.search(self.text, start)
        self.at = found.start() if found else len(self.text)
        return self.text[start : self.at]

    def until(self, stop: str, *, keep_escapes: bool = False) -> None:
        """Expand up to a character of `stop` (consumed) or, if `stop` is empty, the end of the text."""
        while (char := self.next()) != "":
            if char in stop:
                return
            if char == "$":
                self.emit(self.dollar(), quoted=False)
            elif char == self.escape:
                self.escaped(keep_escapes)
            elif char == "'" and not self.raw_quotes:
                self.single_quoted()
            elif char == '"' and not self.raw_quotes:
                self.double_quoted()
            else:
                self.emit(char + self.plain(), quoted=False)
        if stop:
            raise ShellError(f"syntax error: missing '{stop}'{' in ${}' if stop == '/' else ''}")

    def escaped(self, keep_escapes: bool) -> None:
        char = self.next()
        self.emit("\\" + char if keep_escapes else char, quoted=True)

    def single_quoted(self) -> None:
        end = self.text.find("'", self.at)
        if end < 0:
            raise ShellError("unexpected end of statement while looking for matching single-quote")
        self.emit(self.text[self.at : end], quoted=True)
        self.at = end + 1

    def double_quoted(self) -> None:
        self.emit("", quoted=True)
        while (char := self.next()) != '"':
            if not char:
                raise ShellError("unexpected end of statement while looking for matching double-quote")
            if char == "$":
                self.emit(self.dollar(), quoted=True)
            elif char == self.escape:
                following = self.next()
                if not following:
                    raise ShellError("unexpected end of statement while looking for matching double-quote")
                known = following in ('"', "$", self.escape)
                self.emit(following if known else char + following, quoted=True)
            else:
                self.emit(char + self.plain(), quoted=True)

    def dollar(self) -> str:
        """The value of what follows a `$` that has been read."""
        if self.peek() == "{":
            self.at += 1
            return self.braces()
        name = self.name()
        return self.lookup(name) or "" if name else "$"

    def name(self) -> str:
        start = self.at
        char = self.peek()
        if char.isdecimal():
            while self.peek().isdecimal():
                self.at += 1
        elif char and char in _SPECIAL:
            self.at += 1
        else:
            while (char := self.peek()).isalpha() or char.isdecimal() or char == "_":
                self.at += 1
        return self.text[start : self.at]

    def lookup(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.usage.unmatched if value is None else self.usage.matched).add(name)
        return value

    def braces(self) -> str:
        if not self.peek():
            raise ShellError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise ShellError("syntax error: bad substitution")
        name = self.name()
        char = self.next()
        if char == "}":
            return self.lookup(name) or ""
        if not char:
            raise ShellError("syntax error: missing '}'")
        colon = char == ":"
        symbol = self.next() if colon else char
        if not symbol or symbol not in ("+-?" if colon else "+-?#%/"):
            raise ShellError(f"unsupported modifier ({':' + symbol if colon else symbol}) in substitution")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise ShellError("variable substitution is nested too deeply")
        value = self.modified(name, _Modifier(colon, symbol))
        self.depth -= 1
        return value

    def modified(self, name: str, modifier: _Modifier) -> str:
        symbol = modifier.symbol
        if symbol in "#%":
            greedy = self.peek() == symbol
            self.at += greedy
            pattern = self.nested("}", keep_escapes=True)
            value = self.lookup(name) or ""
            return (trim_prefix if symbol == "#" else trim_suffix)(value, pattern, greedy=greedy)
        if symbol == "/":
            every = self.peek() == "/"
            self.at += every
            pattern = self.nested("/", keep_escapes=True)
            text = self.nested("}")
            return replace_match(self.lookup(name) or "", pattern, text, every=every)
        word = self.nested("}")
        found = self.lookup(name)
        present = bool(found) if modifier.colon else found is not None
        if symbol == "+":
            return word if present else ""
        if present:
            return found or ""
        if symbol == "-":
            return word
        state = "empty" if found is not None else "unset"
        raise ShellError(f"{name}: {word or f'is not allowed to be {state}'}")

    def nested(self, stop: str, *, keep_escapes: bool = False) -> str:
        outer, self.out = self.out, []
        self.until(stop, keep_escapes=keep_escapes)
        inner, self.out = self.out, outer
        return "".join(inner)


class _Shown(_Expansion):
    """See `expand_shown`."""

    def single_quoted(self) -> None:
        self.emit("'", quoted=True)
        super().single_quoted()
        self.emit("'", quoted=True)

    def double_quoted(self) -> None:
        self.emit('"', quoted=True)
        super().double_quoted()
        self.emit('"', quoted=True)

    def dollar(self) -> str:
        start = self.at
        self.at += self.peek() == "{"
        name = self.name()
        self.at = start
        value = super().dollar()
        return value if not name or name in self.env else "$" + self.text[start : self.at]


def pattern_to_regex(pattern: str, *, greedy: bool) -> str:
    r"""A shell pattern (`*`, `?`, `\x`) as a regular expression.

    >>> pattern_to_regex("a*.?", greedy=True)
    '(?s:a.*\\..)'
    """
    out = ""
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            out += (".*" if greedy else ".*?") if not out.endswith(("*", "*?")) else ""
        elif char == "?":
            out += "."
        elif char == "\\":
            out += re.escape(pattern[at : at + 1])
            at += 1
        else:
            out += re.escape(char)
    return f"(?s:{out})"


_MAX_PATTERN = 256  # several stars backtrack: bound pattern and value together


def _compile(pattern: str, value: str, *, greedy: bool) -> re.Pattern[str]:
    if pattern.count("*") > 8 or len(pattern) > _MAX_PATTERN or len(value) > 64 << 10:
        raise ShellError("pattern in substitution is too complex")
    return re.compile(pattern_to_regex(pattern, greedy=greedy))


def trim_prefix(value: str, pattern: str, *, greedy: bool) -> str:
    """Remove the shortest (`greedy`: longest) prefix that matches the pattern."""
    match = _compile(pattern, value, greedy=greedy).match(value)
    return value[match.end() :] if match else value


def trim_suffix(value: str, pattern: str, *, greedy: bool) -> str:
    """Remove the shortest (`greedy`: longest) suffix that matches the pattern.

    >>> trim_suffix("a.tar.gz", ".*", greedy=False)
    'a.tar'
    """
    matcher = _compile(pattern, value, greedy=True)
    starts = range(len(value) + 1) if greedy else range(len(value), -1, -1)
    return next((value[:at] for at in starts if matcher.fullmatch(value, at)), value)


def replace_match(value: str, pattern: str, text: str, *, every: bool) -> str:
    """Replace the first (`every`: each) longest match of the pattern."""
    return _compile(pattern, value, greedy=True).sub(lambda _: text, value, count=0 if every else 1)
