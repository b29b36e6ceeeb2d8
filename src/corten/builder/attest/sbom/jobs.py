"""The worker jobs of SBOMs (signature: see `corten.snapshots.workers.nursery`)."""

from __future__ import annotations

import os
from itertools import chain
from typing import Any, TypeAlias

import msgspec

from corten.builder.attest.sbom.distributions import apk, dpkg, os_release
from corten.builder.attest.sbom.languages import languages
from corten.builder.attest.sbom.packages import Found, TooMuch
from corten.builder.attest.sbom.reading import read_entry
from corten.builder.attest.sbom.rpm import rpm
from corten.builder.attest.sbom.spdx import document
from corten.builder.jobs import open_tree
from corten.linux.files import write_all
from corten.snapshots.overlay import enter_private_mounts

Params: TypeAlias = "dict[str, Any]"

_MAX_FILES = 32
_MAX_FILE = 15 << 20  # with what is put around it, it has to fit into an attestation


def scan(params: Params, fds: list[int], report: object) -> Params:
    """fds: output. Writes the SPDX document of `tree`, called `name`, made at `created_ns`.

    Answers how many `packages` it has.
    """
    enter_private_mounts()
    root = open_tree(params["tree"], params["mountpoint"])
    found = Found()
    for package in chain(dpkg(root), apk(root), rpm(root), languages(root)):
        found.add(package)
    packages = found.sorted()
    write_all(fds[0], document(params["name"], packages, os_release(root), params["created_ns"]))
    return {"packages": len(packages)}


def collect(params: Params, fds: list[int], report: object) -> Params:
    """fds: output. Writes the regular files at the root of `tree` as MessagePack: content by name."""
    enter_private_mounts()
    root = open_tree(params["tree"], params["mountpoint"])
    names = sorted(os.listdir(root))
    if len(names) > _MAX_FILES:
        raise TooMuch(f"a scanner may write {_MAX_FILES} files, and has written {len(names)}")
    found = {name: read_entry(root, name, name, _MAX_FILE) for name in names}
    kept = {name: data for name, data in found.items() if data is not None and _is_sound(name)}
    write_all(fds[0], msgspec.msgpack.encode(kept))
    return {}


def _is_sound(name: str) -> bool:
    return name.isprintable() and name.isascii() and len(name) < 200 and not name.startswith(".")
