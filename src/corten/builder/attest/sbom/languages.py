"""What Python and Node.js have installed, wherever in the file system it lies.

Source: packaging.python.org, "Recording installed projects" and "Core metadata"; npm's package-lock.json.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from corten.builder.attest.sbom.packages import Package, TooMuch, clean
from corten.builder.attest.sbom.reading import read_entry, stanzas
from corten.builder.ops.tree import children, open_directory

_MAX_ENTRIES = 2_000_000
_MAX_DEPTH = 200
_MAX_METADATA = 4 << 20
_MAX_LOCK = 32 << 20
_SEPARATORS = re.compile(r"[-_.]+")
_LOCK, _MANIFEST, _MODULES = "package-lock.json", "package.json", "node_modules"
_NOT_HERE = frozenset({"proc", "sys", "dev"})  # at the root: mount points


def languages(root: int) -> Iterator[Package]:
    """Everything below the root, nothing followed. Raises TooMuch."""
    return _Walk().below(root, "", 0)


class _Walk:
    def __init__(self) -> None:
        self._entries = 0

    def below(self, directory: int, path: str, depth: int) -> Iterator[Package]:
        for entry in children(directory, path):
            self._entries += 1
            if self._entries > _MAX_ENTRIES:
                raise TooMuch(f"an SBOM of more than {_MAX_ENTRIES} files is not made")
            if not entry.is_dir:
                yield from _of_file(directory, entry.name, entry.path)
                continue
            if depth >= _MAX_DEPTH or (depth == 0 and entry.name in _NOT_HERE):
                continue
            child = open_directory(directory, entry.name)
            try:
                yield from self.below(child, entry.path, depth + 1)
            finally:
                os.close(child)


def _of_file(directory: int, name: str, path: str) -> Iterator[Package]:
    above = path.split("/")[:-1]
    parent = above[-1] if above else ""
    if (
        (name == "METADATA" and parent.endswith(".dist-info"))
        or (name == "PKG-INFO" and parent.endswith(".egg-info"))
        or name.endswith(".egg-info")
    ):
        yield from _python(read_entry(directory, name, path, _MAX_METADATA), path)
    elif name == _MANIFEST and _is_module(above):
        yield from _node(read_entry(directory, name, path, _MAX_METADATA), path)
    elif name == _LOCK and _MODULES not in above:
        yield from _locked(read_entry(directory, name, path, _MAX_LOCK), path)


def _python(data: bytes | None, path: str) -> Iterator[Package]:
    fields = next(stanzas(data), None) if data else None
    if fields is None:
        return
    yield Package(
        kind="pypi",
        name=_SEPARATORS.sub("-", clean(fields.get("name"))).lower(),
        version=clean(fields.get("version")),
        found=path,
        license=clean(fields.get("license-expression")),
        license_text=clean(fields.get("license")),
        supplier=clean(fields.get("author-email") or fields.get("author")),
        homepage=clean(fields.get("home-page")),
    )


def _is_module(above: list[str]) -> bool:
    """`node_modules/NAME` or `node_modules/@SCOPE/NAME`, and not a directory within a module."""
    if len(above) >= 2 and above[-2] == _MODULES:
        return not above[-1].startswith("@")
    return len(above) >= 3 and above[-3] == _MODULES and above[-2].startswith("@")


def _document(data: bytes | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _node(data: bytes | None, path: str) -> Iterator[Package]:
    found = _document(data)
    author = found.get("author")
    yield Package(
        kind="npm",
        name=clean(found.get("name")),
        version=clean(found.get("version")),
        found=path,
        license=clean(found.get("license")),
        supplier=clean(author.get("name") if isinstance(author, dict) else author),
        homepage=clean(found.get("homepage")),
    )


def _locked(data: bytes | None, path: str) -> Iterator[Package]:
    """What a lock file pins; what is there of it only for development is left out."""
    found = _document(data)
    packages = found.get("packages")
    if isinstance(packages, dict):
        for place, each in packages.items():
            if isinstance(each, dict) and place and not each.get("dev") and not each.get("link"):
                name = each.get("name") or str(place).rpartition(f"{_MODULES}/")[2]
                yield _pinned(name, each, path)
        return
    waiting = [found]
    while waiting:
        dependencies = waiting.pop().get("dependencies")
        for name, each in dependencies.items() if isinstance(dependencies, dict) else ():
            if isinstance(each, dict) and not each.get("dev"):
                yield _pinned(name, each, path)
                waiting.append(each)


def _pinned(name: object, fields: dict[str, Any], path: str) -> Package:
    return Package(
        kind="npm",
        name=clean(name),
        version=clean(fields.get("version")),
        found=path,
        license=clean(fields.get("license")),
    )
