"""Devices by their CDI names: `vendor.com/class=name`, described by files below /etc/cdi and /var/run/cdi.

Environment, device nodes, mounts and groups are data. Hooks are programs that run on the host as root: who
runs a container may have them, a build, whose Dockerfile may be anybody's, may not.
Source: cncf-tags/container-device-interface, SPEC.md.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from corten.builder.graph import Device
from corten.engine.containers.record import MountRecord
from corten.errors import InvalidParameter, NotSupported
from corten.types.container import DeviceMapping

log = logging.getLogger(__name__)

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
_MAX_FILE = 4 << 20

Json: TypeAlias = "Mapping[str, Any]"


@dataclass(slots=True)
class DeviceEdits:
    """What devices add to a container."""

    env: list[str] = field(default_factory=list)
    nodes: list[DeviceMapping] = field(default_factory=list)
    mounts: list[MountRecord] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    hooks: dict[str, list[Json]] = field(default_factory=dict)  # by the OCI name of their moment

    def apply(self, edits: Json, *, hooks: bool = False) -> None:
        """Add a `containerEdits` object. Raises NotSupported for hooks unless they are allowed."""
        for hook in edits.get("hooks") or ():
            if not hooks:
                raise NotSupported("CDI devices with hooks are not supported")
            known = {key: hook[key] for key in ("path", "args", "env", "timeout") if hook.get(key)}
            self.hooks.setdefault(str(hook["hookName"]), []).append(known)
        self.env += map(str, edits.get("env") or ())
        self.groups += map(str, edits.get("additionalGids") or ())
        for node in edits.get("deviceNodes") or ():
            self.nodes.append(
                DeviceMapping(
                    path_on_host=str(node.get("hostPath") or node["path"]),
                    path_in_container=str(node["path"]),
                    cgroup_permissions=str(node.get("permissions") or "rwm"),
                )
            )
        for mount in edits.get("mounts") or ():
            self.mounts.append(
                MountRecord(
                    kind="bind",
                    source=str(mount["hostPath"]),
                    destination=str(mount["containerPath"]),
                    read_only="ro" in (mount.get("options") or ()),
                )
            )


def find_devices(
    devices: Sequence[Device], directories: Sequence[str] = DIRECTORIES, *, hooks: bool = False
) -> DeviceEdits:
    """What the named devices add, with or without hooks.

    Raises InvalidParameter for a device that is required and not there, NotSupported.
    """
    found = DeviceEdits()
    if not devices:
        return found
    known = Descriptions(directories)
    missing = [device.name for device in devices if device.required and device.name not in known.devices]
    if missing:
        raise InvalidParameter(f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}")
    applied: list[Json] = []  # what is common to several devices of a file counts once
    for device in devices:
        for edits in known.devices.get(device.name, ()):
            if not any(edits is earlier for earlier in applied):
                applied.append(edits)
                found.apply(edits, hooks=hooks)
    return found


class Descriptions:
    """All devices that the files describe: edits by name. Later directories come before earlier ones."""

    def __init__(self, directories: Sequence[str] = DIRECTORIES) -> None:
        self.devices = {name: edits for found in _documents(directories) for name, edits in _devices(found)}

    def of_class(self, kind: str) -> dict[str, list[str]]:
        """Names without vendor and class, by vendor, of the devices of a class (`gpu`)."""
        found: dict[str, list[str]] = {}
        for text in sorted(self.devices):
            vendor, _, rest = text.partition("/")
            device_class, _, name = rest.partition("=")
            if device_class == kind:
                found.setdefault(vendor, []).append(name)
        return found


def _documents(directories: Sequence[str]) -> Iterator[Json]:
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            path = os.path.join(directory, name)
            load = _LOADERS.get(os.path.splitext(name)[1])
            if load is None:
                continue
            try:
                with open(path, "rb") as file:
                    document = load(file.read(_MAX_FILE))
            except (OSError, ValueError) as e:
                # As CDI asks: a broken file takes only its own devices away.
                log.warning("CDI description not read", extra={"path": path, "reason": str(e)})
                continue
            if isinstance(document, dict):
                yield document


def _yaml(data: bytes) -> object:
    import yaml  # only where there are such files

    try:
        return yaml.load(data, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from e


_LOADERS: dict[str, Callable[[bytes], object]] = {".json": json.loads, ".yaml": _yaml, ".yml": _yaml}


def _devices(document: Json) -> Iterator[tuple[str, Sequence[Json]]]:
    common = document.get("containerEdits") or {}
    for device in document.get("devices") or ():
        yield f"{document.get('kind')}={device.get('name')}", (common, device.get("containerEdits") or {})
