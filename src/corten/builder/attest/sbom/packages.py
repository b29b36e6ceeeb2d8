"""A package as its database describes it."""

from __future__ import annotations

import msgspec

from corten.errors import InvalidParameter

MAX_PACKAGES = 20_000
_MAX_TEXT = 1000  # characters of a field


class Package(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """`kind`: deb, apk, rpm, pypi, npm. `found`: the file that says so. `license`: as SPDX expression, or "".

    `source`: of what source package it was built.
    """

    kind: str
    name: str
    version: str
    found: str
    architecture: str = ""
    license: str = ""
    license_text: str = ""
    supplier: str = ""
    homepage: str = ""
    source: str = ""
    epoch: str = ""


class TooMuch(InvalidParameter):
    """The file system says more than is read."""


class Found:
    """The packages of one file system, each once."""

    def __init__(self) -> None:
        self._packages: dict[tuple[str, str, str, str], Package] = {}

    def add(self, package: Package) -> None:
        """Take one with a name and a version. Raises TooMuch."""
        if not (package.name and package.version):
            return
        key = (package.kind, package.name, package.version, package.architecture)
        self._packages.setdefault(key, package)
        if len(self._packages) > MAX_PACKAGES:
            raise TooMuch(f"an SBOM of more than {MAX_PACKAGES} packages is not made")

    def sorted(self) -> list[Package]:
        """All of them, always in the same order."""
        return sorted(self._packages.values())


def clean(text: object) -> str:
    """A value of a database as it may stand in a document: text without control characters, not too long."""
    if not isinstance(text, str):
        return ""
    return "".join(c for c in text[:_MAX_TEXT] if c.isprintable()).strip()
