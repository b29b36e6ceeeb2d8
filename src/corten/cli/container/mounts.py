"""`-v` and `--mount` to the API's binds, anonymous volumes and mounts."""

from __future__ import annotations

import os

from corten.cli import values
from corten.cli.errors import HintedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = ("bind", "volume", "tmpfs", "image", "npipe", "cluster")
_SWITCHES = {
    "bind-nonrecursive": ("BindOptions", "NonRecursive"),
    "bind-create-src": ("BindOptions", "CreateMountpoint"),
    "volume-nocopy": ("VolumeOptions", "NoCopy"),
}
_TEXTS = {
    "bind-propagation": ("BindOptions", "Propagation"),
    "volume-driver": ("VolumeOptions", "DriverConfig", "Name"),
    "volume-subpath": ("VolumeOptions", "Subpath"),
    "image-subpath": ("ImageOptions", "Subpath"),
}


def volumes(items: list[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Split `-v` into binds (`SOURCE:TARGET[:MODE]`, sources made absolute) and anonymous volumes."""
    binds: list[str] = []
    anonymous: dict[str, dict[str, str]] = {}
    for item in items:
        parts = item.split(":")
        if not item:
            raise HintedError("invalid empty volume spec")
        if len(parts) > 1 and not all(parts):
            raise HintedError(f"invalid spec: {item}: empty section between colons")
        if len(parts) == 1:
            anonymous[item] = {}
            continue
        if parts[0].startswith((".", "~/")) or parts[0] == "~":
            parts[0] = os.path.abspath(os.path.expanduser(parts[0]))
        binds.append(":".join(parts))
    return binds, anonymous


def mount(text: str) -> dict[str, Any]:
    """Parse one `--mount` (comma-separated, CSV quoting). Raises ValueError with Docker's text."""
    result: dict[str, Any] = {"Type": "volume"}
    for field in split_csv(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals and key not in ("readonly", "ro", *_SWITCHES):
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        _set(result, key, value, field)
    _check(result)
    return result


def _set(result: dict[str, Any], key: str, value: str, field: str) -> None:
    if key == "type":
        result["Type"] = value.lower()
    elif key in ("source", "src"):
        relative = value.startswith(".")
        result["Source"] = os.path.abspath(value) if relative else value
    elif key in ("target", "dst", "destination"):
        result["Target"] = value
    elif key in ("readonly", "ro"):
        result["ReadOnly"] = _boolean(key, value)
    elif key in _SWITCHES:
        _put(result, _SWITCHES[key], _boolean(key, value))
    elif key in _TEXTS:
        _put(result, _TEXTS[key], value)
    elif key == "consistency":
        result["Consistency"] = value.lower()
    elif key == "bind-recursive":
        _set_recursive(result, value)
    elif key in ("volume-label", "volume-opt"):
        name, _, label = value.partition("=")
        path = (
            ("VolumeOptions", "Labels")
            if key == "volume-label"
            else ("VolumeOptions", "DriverConfig", "Options")
        )
        _put(result, (*path, name), label)
    elif key == "tmpfs-size":
        try:
            _put(result, ("TmpfsOptions", "SizeBytes"), values.size(value))
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    elif key == "tmpfs-mode":
        try:
            _put(result, ("TmpfsOptions", "Mode"), int(value, 8))
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _set_recursive(result: dict[str, Any], value: str) -> None:
    switches = {
        "enabled": {},
        "disabled": {"NonRecursive": True},
        "writable": {"ReadOnlyNonRecursive": True},
        "readonly": {"ReadOnlyForceRecursive": True},
    }
    if value not in switches:
        known = '"enabled", "disabled", "writable", or "readonly"'
        raise ValueError(f"invalid value for bind-recursive: {value} (must be {known})")
    for name, on in switches[value].items():
        _put(result, ("BindOptions", name), on)


def _boolean(key: str, value: str) -> bool:
    try:
        return values.boolean(value) if value else True
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _put(result: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        result = result.setdefault(name, {})
    result[path[-1]] = value


def _check_recursive(result: dict[str, Any]) -> None:
    bind = result.get("BindOptions", {})
    modes = {"ReadOnlyNonRecursive": "writable", "ReadOnlyForceRecursive": "readonly"}
    for field, mode in modes.items():
        if not bind.get(field):
            continue
        if not result.get("ReadOnly"):
            raise ValueError(
                f"option 'bind-recursive={mode}' requires 'readonly' to be specified in conjunction"
            )
        if mode == "readonly" and bind.get("Propagation") not in (None, "rprivate"):
            needed = "'bind-propagation=rprivate' to be specified in conjunction"
            raise ValueError(f"option 'bind-recursive=readonly' requires {needed}")


def _check(result: dict[str, Any]) -> None:
    kind = result["Type"]
    if not kind:
        raise ValueError("type is required")
    if not result.get("Target"):
        raise ValueError("target is required")
    _check_recursive(result)
    for owner in ("Volume", "Image", "Bind", "Tmpfs"):
        if f"{owner}Options" in result and kind not in (owner.lower(), "cluster"):
            raise ValueError(f"cannot mix '{owner.lower()}-*' options with mount type '{kind}'")


def split_csv(text: str) -> list[str]:
    """Split one CSV record (RFC 4180) at commas outside double quotes."""
    if '"' not in text:
        return text.split(",")
    fields, field, quoted, at = [], "", False, 0
    while at < len(text):
        char = text[at]
        if char == '"' and quoted and text[at + 1 : at + 2] == '"':
            field += '"'
            at += 1
        elif char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            fields.append(field)
            field = ""
        else:
            field += char
        at += 1
    if quoted:
        raise ValueError('parse error on line 1: extraneous or missing " in quoted-field')
    return [*fields, field]
