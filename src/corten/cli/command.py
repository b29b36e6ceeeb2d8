"""What a command is, and how its arguments are counted."""

from __future__ import annotations

from corten.cli.errors import ArgumentsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corten.cli.context import Context
    from corten.cli.flags import Flag, Options

UNLIMITED = -1


class Command:
    """A command: its usage line without its name, how many arguments it takes, its flags, and what it does.

    `run` gets the context, the options and the arguments, and gives the exit code.
    `verbatim` commands parse their flags themselves.
    """

    __slots__ = ("flags", "interspersed", "least", "most", "note", "run", "usage", "verbatim")

    def __init__(
        self,
        usage: str,
        run: Callable[[Context, Options, list[str]], int],
        flags: Sequence[Flag] = (),
        *,
        least: int = 0,
        most: int = 0,
        interspersed: bool = True,
        note: str = "",
        verbatim: bool = False,
    ) -> None:
        self.usage = usage
        self.run = run
        self.flags = flags
        self.least = least
        self.most = most
        self.interspersed = interspersed
        self.note = note
        self.verbatim = verbatim

    def check_arguments(self, path: str, count: int) -> None:
        """Raise ArgumentsError with Docker's sentence if there are too few or too many."""
        if self.least <= count and self.most in (UNLIMITED, *range(count, self.most + 1)):
            return
        if self.least == self.most == 0:
            raise ArgumentsError(f"'{path}' accepts no arguments")
        if self.least == self.most:
            raise ArgumentsError(f"'{path}' requires {_count(self.least)}")
        if self.least and self.most != UNLIMITED:
            raise ArgumentsError(f"'{path}' requires at least {self.least} and at most {_count(self.most)}")
        if count < self.least:
            raise ArgumentsError(f"'{path}' requires at least {_count(self.least)}")
        raise ArgumentsError(f"'{path}' requires at most {_count(self.most)}")


def _count(number: int) -> str:
    return f"{number} argument" if number == 1 else f"{number} arguments"
