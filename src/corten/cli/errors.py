"""How a command fails: a text for stderr and an exit code."""

from __future__ import annotations


class ExitError(Exception):
    """End the command with this exit code; the text goes to stderr unless it is empty."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class HintedError(ExitError):
    """The command cannot do what its options say; shown as `corten: …` with a hint at its help."""

    def __init__(self, message: str, code: int = 125) -> None:
        super().__init__(message, code)


class FlagError(ExitError):
    """The flags cannot be understood; the caller adds the usage. Exit code 125 as Docker's."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 125)


class ArgumentsError(ExitError):
    """Too few or too many arguments; the caller adds the usage."""
