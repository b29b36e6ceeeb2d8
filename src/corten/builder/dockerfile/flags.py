"""Flags of instructions: `--name=value`, declared per instruction, checked with Docker's texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from corten.builder.dockerfile.errors import DockerfileError, suggest


class Kind(Enum):
    """What a flag holds: one string, true/false, or strings from several mentions."""

    STRING = "string"
    BOOL = "bool"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of one instruction, after checking against `declared`."""

    values: Mapping[str, tuple[str, ...]]

    def string(self, name: str) -> str:
        """The value, "" if the flag was not given."""
        return next(iter(self.values.get(name, ())), "")

    def strings(self, name: str) -> tuple[str, ...]:
        """All values of a flag that may be repeated."""
        return self.values.get(name, ())

    def is_on(self, name: str) -> bool:
        """Whether a boolean flag is on."""
        return self.string(name) == "true"

    def maybe(self, name: str) -> bool | None:
        """The value of a boolean flag, None if it was not given."""
        return self.is_on(name) if name in self.values else None


def parse_flags(words: Sequence[str], declared: Mapping[str, Kind]) -> Flags:
    """Check and sort flag words. Raises DockerfileError with Docker's text for any misuse."""
    values: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        kind = declared.get(name)
        if kind is None:
            raise DockerfileError(suggest(f"unknown flag: --{name}", name, sorted(declared)))
        if name in values and kind is not Kind.LIST:
            raise DockerfileError(f"duplicate flag specified: --{name}")
        lacks_value = equals and not value if kind is Kind.BOOL else not equals
        if lacks_value:
            raise DockerfileError(f"missing a value on flag: --{name}")
        if kind is Kind.BOOL:
            value = value.lower() or "true"
            if value not in ("true", "false"):
                raise DockerfileError(f"expecting boolean value for flag --{name}, not: {value}")
        values[name] = (*values.get(name, ()), value)
    return Flags(values)
