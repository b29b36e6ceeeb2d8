"""Parsing of flags by the rules of Go's pflag, which are Docker's rules.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, clusters of switches (`-it`), a switch
takes a value only after `=`, `--` ends the flags. With `interspersed` false the first argument ends them
too, so that `run IMAGE ls -l` leaves `-l` to the container.
"""

from __future__ import annotations

from corten.cli import values
from corten.cli.errors import FlagError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

REPEATED = frozenset(
    ("list", "map", "filter", "mount", "network", "ulimit", "gpu-request", "stringArray", "strings")
)
_OPTIONAL_VALUE = "bool"


class Flag:
    """One flag. `kind` is the word that help shows for its value, and names its parser in `values`."""

    __slots__ = ("default", "hidden", "kind", "name", "short", "show_default", "usage")

    def __init__(
        self,
        name: str,
        kind: str,
        usage: str,
        short: str = "",
        *,
        default: str | bool | int = "",
        show_default: str = "",
        hidden: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.usage = usage
        self.short = short
        self.default = default
        self.show_default = show_default
        self.hidden = hidden

    def __str__(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


HELP = Flag("help", "bool", "Print usage")


class Options:
    """The values of a command's flags, by name and type; `given` tells whether one was on the line."""

    __slots__ = ("_flags", "_values")

    def __init__(self, flags: Sequence[Flag]) -> None:
        self._flags = {flag.name: flag for flag in flags}
        self._values: dict[str, object] = {}

    def has(self, name: str) -> bool:
        """Whether the command has such a flag."""
        return name in self._flags

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return name in self._values

    def __getitem__(self, name: str) -> str:
        return str(self._values.get(name, self._flags[name].default))

    def on(self, name: str) -> bool:
        """The value of a switch."""
        return bool(self._values.get(name, self._flags[name].default))

    def number(self, name: str) -> int:
        """The value of an integer, of a size in bytes, or of a duration in nanoseconds."""
        value = self._values.get(name, self._flags[name].default)
        return value if isinstance(value, int) else 0

    def items(self, name: str) -> list[str]:
        """The values of a repeated flag, in their order."""
        value = self._values.get(name)
        return [str(item) for item in value] if isinstance(value, list) else []

    def flag(self, name: str) -> Flag:
        """The flag itself, for error texts."""
        return self._flags[name]

    def set(self, flag: Flag, text: str) -> None:
        """Parse and keep a value; raises FlagError with pflag's text."""
        try:
            value = values.parse(flag.kind, text)
        except ValueError as e:
            raise FlagError(f'invalid argument "{text}" for "{flag}" flag: {e}') from e
        if flag.kind not in REPEATED:
            self._values[flag.name] = value
            return
        kept = self._values.setdefault(flag.name, [])
        assert isinstance(kept, list)
        kept.extend(text.split(",") if flag.kind == "strings" else [text])


def invalid(options: Options, name: str, text: str, why: str) -> FlagError:
    """The error for a value that only its consumer could judge (mounts, networks, ulimits)."""
    return FlagError(f'invalid argument "{text}" for "{options.flag(name)}" flag: {why}')


def parse(
    flags: Sequence[Flag], arguments: list[str], *, interspersed: bool = True
) -> tuple[Options, list[str]]:
    """Split a command line into flags and arguments. `--help` is understood everywhere. Raises FlagError."""
    flags = (*flags, HELP)
    options = Options(flags)
    short = {flag.short: flag for flag in flags if flag.short}
    rest: list[str] = []
    at = 0
    while at < len(arguments):
        word = arguments[at]
        at += 1
        if word == "--":
            rest += arguments[at:]
            break
        if word == "-" or not word.startswith("-"):
            rest.append(word)
            if interspersed:
                continue
            rest += arguments[at:]
            break
        if word.startswith("--"):
            at = _long(options, word, arguments, at)
        else:
            at = _cluster(options, short, word, arguments, at)
    return options, rest


def _long(options: Options, word: str, arguments: list[str], at: int) -> int:
    name, equals, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise FlagError(f"bad flag syntax: {word}")
    try:
        flag = options.flag(name)
    except KeyError as e:
        raise FlagError(f"unknown flag: --{name}") from e
    if equals:
        options.set(flag, value)
    elif flag.kind == _OPTIONAL_VALUE:
        options.set(flag, "true")
    elif at < len(arguments):
        options.set(flag, arguments[at])
        at += 1
    else:
        raise FlagError(f"flag needs an argument: --{name}")
    return at


def _cluster(options: Options, short: dict[str, Flag], word: str, arguments: list[str], at: int) -> int:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = short.get(letter) or (HELP if letter == "h" else None)
        if flag is None:
            raise FlagError(f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
        if letters.startswith("="):
            options.set(flag, letters[1:])
            break
        if flag.kind == _OPTIONAL_VALUE:
            options.set(flag, "true")
            continue
        if letters:
            options.set(flag, letters)
        elif at < len(arguments):
            options.set(flag, arguments[at])
            at += 1
        else:
            raise FlagError(f"flag needs an argument: '{letter}' in {word}")
        break
    return at
