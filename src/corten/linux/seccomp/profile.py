"""Docker's seccomp profiles: a template with conditions -> the OCI document for one container.

A template is an OCI `linux.seccomp` document with three additions: `archMap` in place of
`architectures`, and in each rule `includes` and `excludes` by capabilities, architectures (Go's names)
and kernel version. `default.json` is Docker's own default (github.com/moby/profiles).
"""

from __future__ import annotations

import json
import os

from corten.errors import InvalidParameter
from corten.linux.seccomp.compiler import NATIVE, compile_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

_DEFAULT_PATH = os.path.join(os.path.dirname(__file__), "default.json")
_GO_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}
_COPIED = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")
_COPIED_OF_RULE = ("action", "errnoRet", "args")

_default: dict[str, Any] | None = None
_deciding: frozenset[str] = frozenset()
_filters: dict[frozenset[str], bytes] = {}


def default_template() -> dict[str, Any]:
    """Docker's default profile. Shared: not to be changed."""
    global _default
    if _default is None:
        with open(_DEFAULT_PATH, encoding="utf-8") as file:
            _default = json.load(file)
    return _default


def default_filter(capabilities: Collection[str]) -> bytes:
    """Program of Docker's default profile for a container with these CAP_ names; compiled once for each."""
    global _deciding
    if not _deciding:
        _deciding = frozenset(
            name
            for rule in default_template()["syscalls"]
            for condition in ("includes", "excludes")
            for name in rule.get(condition, {}).get("caps", ())
        )
    key = _deciding.intersection(capabilities)
    program = _filters.get(key)
    if program is None:
        program = _filters[key] = compile_filter(resolve(default_template(), key))
    return program


def parse(text: str | bytes) -> dict[str, Any]:
    """A user's profile (`--security-opt seccomp=file.json`). Raises InvalidParameter in Docker's words."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error}") from error
    if not isinstance(document, dict):
        raise InvalidParameter("Decoding seccomp profile failed: not an object")
    _check_types(document, _TYPES, "")
    return document


# What a profile may hold: a type, [element] for lists, {key: ...} for objects. Other keys are ignored.
_CONDITION_TYPES = {"caps": [str], "arches": [str], "minKernel": str}
_TYPES: dict[str, Any] = {
    "defaultAction": str,
    "defaultErrnoRet": int,
    "architectures": [str],
    "archMap": [{"architecture": str, "subArchitectures": [str]}],
    "flags": [str],
    "listenerPath": str,
    "syscalls": [
        {
            "name": str,
            "names": [str],
            "action": str,
            "errnoRet": int,
            "args": [{"index": int, "value": int, "valueTwo": int, "op": str}],
            "includes": _CONDITION_TYPES,
            "excludes": _CONDITION_TYPES,
        }
    ],
}


def _check_types(value: object, expected: Any, where: str) -> None:
    """Refuse what Go's decoder would refuse; null stands for anything that is missing."""
    if value is None:
        return
    if isinstance(expected, dict):
        if isinstance(value, dict):
            for key, inner in expected.items():
                _check_types(value.get(key), inner, f"{where}.{key}")
            return
    elif isinstance(expected, list):
        if isinstance(value, list) and None not in value:
            for item in value:
                _check_types(item, expected[0], where)
            return
    elif type(value) is expected:
        return
    raise InvalidParameter(f"Decoding seccomp profile failed: {where.lstrip('.')}: unexpected {value!r:.50}")


def resolve(
    template: Mapping[str, Any],
    capabilities: Collection[str],
    *,
    machine: str | None = None,
    kernel: str | None = None,
) -> dict[str, Any]:
    """The OCI document that `template` means for a container with these CAP_ names.

    machine: uname -m; kernel: release such as `6.18.44-amd64`; defaults: this host's.
    Raises InvalidParameter where the template contradicts itself.
    """
    host = os.uname()
    machine = machine or host.machine
    version = kernel_version(kernel or host.release)
    document = {key: template[key] for key in _COPIED if template.get(key) is not None}
    document["architectures"] = _architectures(template, NATIVE[machine])
    document["syscalls"] = [
        {"names": _names(rule), **{key: rule[key] for key in _COPIED_OF_RULE if rule.get(key)}}
        for rule in template.get("syscalls") or ()
        if _applies(rule, capabilities, _GO_ARCHITECTURE[machine], version)
    ]
    return document


def kernel_version(release: str) -> tuple[int, int]:
    """`6.18.44-amd64` -> (6, 18). Raises InvalidParameter."""
    major, _, rest = release.partition(".")
    minor = ""
    for character in rest:
        if not character.isdigit():
            break
        minor += character
    if not major.isdigit() or not minor:
        raise InvalidParameter(f"invalid kernel version: {release}")
    return int(major), int(minor)


def _architectures(template: Mapping[str, Any], native: str) -> list[str]:
    listed = list(template.get("architectures") or ())
    mapped = template.get("archMap") or ()
    if listed and mapped:
        raise InvalidParameter(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either "
            "'architectures' or 'archMap'"
        )
    for entry in mapped:
        if entry.get("architecture") == native:
            return [native, *(entry.get("subArchitectures") or ())]
    return listed


def _names(rule: Mapping[str, Any]) -> list[str]:
    names = list(rule.get("names") or ())
    if rule.get("name"):
        if names:
            raise InvalidParameter(
                "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
            )
        names = [rule["name"]]
    return names


def _applies(
    rule: Mapping[str, Any], capabilities: Collection[str], architecture: str, version: tuple[int, int]
) -> bool:
    excludes = rule.get("excludes") or {}
    if architecture in (excludes.get("arches") or ()):
        return False
    if any(name in capabilities for name in excludes.get("caps") or ()):
        return False
    if excludes.get("minKernel") and version >= kernel_version(excludes["minKernel"]):
        return False
    includes = rule.get("includes") or {}
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if not all(name in capabilities for name in includes.get("caps") or ()):
        return False
    return not includes.get("minKernel") or version >= kernel_version(includes["minKernel"])
