"""Operating system and processor of an image: `linux/amd64`, `linux/arm64/v8`.

Normalisation and matching follow containerd's platforms package: an arm/v7 machine
also runs v6 and v5, amd64 and 386 do not mix.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from corten.errors import InvalidParameter

_MACHINES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
}
_WORD = re.compile(r"[A-Za-z0-9_.-]+")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Platform:
    """A normalised platform; `variant` is empty where it says nothing."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def rank(self, offered: Platform) -> int | None:
        """How well an image for `offered` runs here: 0 is exact, more is worse, None is not at all."""
        if (self.os, self.architecture) != (offered.os, offered.architecture):
            return None
        if self.variant == offered.variant:
            return 0
        if self.architecture == "arm":
            own, other = _arm_version(self.variant), _arm_version(offered.variant)
            return own - other if other <= own else None
        return 1 if not offered.variant or not self.variant else None


def _arm_version(variant: str) -> int:
    digits = variant.removeprefix("v")
    return int(digits) if digits.isdecimal() else 7


def normalized(system: str, architecture: str, variant: str = "") -> Platform:
    """The platform under containerd's names: aarch64 -> arm64, arm64/v8 -> arm64, arm -> arm/v7."""
    architecture = architecture.lower()
    architecture, default_variant = _MACHINES.get(architecture, (architecture, ""))
    variant = variant.lower() or default_variant
    if architecture == "arm64" and variant in ("8", "v8"):
        variant = ""
    if architecture == "arm":
        variant = f"v{variant.removeprefix('v') or '7'}"
    if architecture == "amd64" and variant == "v1":
        variant = ""
    system = system.lower()
    return Platform("darwin" if system == "macos" else system, architecture, variant)


@cache
def host_platform() -> Platform:
    """The machine's own platform."""
    return normalized("linux", os.uname().machine)


def parse_platform(text: str) -> Platform:
    """`os[/arch[/variant]]` or `arch`. Raises InvalidParameter with Docker's words."""
    parts = text.split("/")
    if len(parts) > 3:
        raise InvalidParameter(f'"{text}": cannot parse platform specifier: invalid argument')
    if not all(_WORD.fullmatch(p) for p in parts):
        raise InvalidParameter(f'"{text}": unknown operating system or architecture: invalid argument')
    if len(parts) == 1:
        word = parts[0].lower()
        if word in ("linux", "windows", "darwin", "freebsd"):
            return Platform(word, host_platform().architecture, host_platform().variant)
        if word not in _MACHINES and word not in _ARCHITECTURES:
            raise InvalidParameter(f'"{text}": unknown operating system or architecture: invalid argument')
        return normalized("linux", word)
    return normalized(*parts)


# fmt: off
_ARCHITECTURES = frozenset((
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle",
    "ppc64", "ppc64le", "riscv64", "s390x", "wasm",
))
# fmt: on


def best_match(wanted: Platform, offered: Iterable[tuple[Platform, T]]) -> T | None:
    """The offer that suits `wanted` best (the first of equals), or None."""
    best: tuple[int, T] | None = None
    for platform, item in offered:
        rank = wanted.rank(platform)
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, item)
    return best[1] if best is not None else None
