"""The databases of dpkg and apk, and what os-release says.

Source: deb-control(5); wiki.alpinelinux.org, "Apk spec" (installed database); os-release(5).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from corten.builder.attest.sbom.packages import Package, clean
from corten.builder.attest.sbom.reading import read, read_entry, stanzas
from corten.linux.openat2 import open_in_root

_DPKG = "var/lib/dpkg/status"
_DPKG_PARTS = "var/lib/dpkg/status.d"  # images without dpkg itself
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
_MAX_OS_RELEASE = 64 << 10


def os_release(root: int) -> dict[str, str]:
    """The variables of os-release, {} if there is none."""
    data = next((found for path in _OS_RELEASE if (found := read(root, path, _MAX_OS_RELEASE))), b"")
    variables = {}
    for line in data.decode(errors="replace").splitlines():
        key, equals, value = line.partition("=")
        if not equals or key.strip().startswith("#"):
            continue
        try:
            words = shlex.split(value)
        except ValueError:
            continue
        variables[key.strip()] = clean(" ".join(words))
    return variables


def dpkg(root: int) -> Iterator[Package]:
    """What dpkg has installed."""
    for path, data in _dpkg_files(root):
        for each in stanzas(data):
            if path == _DPKG and "installed" not in each.get("status", "").split():
                continue
            source, _, source_version = each.get("source", "").partition(" ")
            yield Package(
                kind="deb",
                name=clean(each.get("package")),
                version=clean(each.get("version")),
                found=path,
                architecture=clean(each.get("architecture")),
                supplier=clean(each.get("maintainer")),
                homepage=clean(each.get("homepage")),
                source=clean(f"{source}@{source_version.strip('()')}" if source_version else source),
            )


def _dpkg_files(root: int) -> Iterator[tuple[str, bytes]]:
    data = read(root, _DPKG)
    if data is not None:
        yield _DPKG, data
    try:
        directory = open_in_root(root, _DPKG_PARTS, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        for name in sorted(os.listdir(directory)):
            path = f"{_DPKG_PARTS}/{name}"
            part = None if name.endswith(".md5sums") else read_entry(directory, name, path)
            if part is not None:
                yield path, part
    finally:
        os.close(directory)


def apk(root: int) -> Iterator[Package]:
    """What apk has installed: its paragraphs have keys of one letter, of which case counts."""
    for path in _APK:
        for paragraph in (read(root, path) or b"").decode(errors="replace").split("\n\n"):
            fields: dict[str, str] = {}
            for line in paragraph.splitlines():
                if line[1:2] == ":":
                    fields.setdefault(line[0], clean(line[2:]))
            yield Package(
                kind="apk",
                name=fields.get("P", ""),
                version=fields.get("V", ""),
                found=path,
                architecture=fields.get("A", ""),
                license=fields.get("L", ""),
                supplier=fields.get("m", ""),
                homepage=fields.get("U", ""),
                source=fields.get("o", ""),
            )
