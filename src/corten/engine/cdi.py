"""Devices by their CDI names: `vendor.com/class=name`, described by files below /etc/cdi and /var/run/cdi.

Only what is data is applied: environment, device nodes, mounts. A description with hooks is refused,
because hooks are programs that would run on the host.
Source: cncf-tags/container-device-interface, SPEC.md (its JSON form).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from corten.builder.graph import Device
from corten.engine.containers.record import MountRecord
from corten.errors import InvalidParameter, NotSupported
from corten.types.container import DeviceMapping

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
_MAX_FILE = 4 << 20

Json: TypeAlias = "Mapping[str, Any]"


@dataclass(slots=True)
class DeviceEdits:
    """What devices add to a container."""

    env: list[str] = field(default_factory=list)
    nodes: list[DeviceMapping] = field(default_factory=list)
    mounts: list[MountRecord] = field(default_factory=list)

    def apply(self, edits: Json) -> None:
        """Add a `containerEdits` object. Raises NotSupported for hooks."""
        if edits.get("hooks"):
            raise NotSupported("CDI devices with hooks are not supported")
        self.env += map(str, edits.get("env") or ())
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


def find_devices(devices: Sequence[Device], directories: Sequence[str] = DIRECTORIES) -> DeviceEdits:
    """What the named devices add. Raises InvalidParameter for one that is required and not there."""
    found = DeviceEdits()
    if not devices:
        return found
    known = {name: edits for document in _documents(directories) for name, edits in _devices(document)}
    missing = [device.name for device in devices if device.required and device.name not in known]
    if missing:
        raise InvalidParameter(f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}")
    for device in devices:
        for edits in known.get(device.name, ()):
            found.apply(edits)
    return found


def _documents(directories: Sequence[str]) -> Iterator[Json]:
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            if not name.endswith(".json"):
                continue
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    document = json.loads(file.read(_MAX_FILE))
            except (OSError, ValueError):
                continue  # as CDI asks: a broken file takes only its own devices away
            if isinstance(document, dict):
                yield document


def _devices(document: Json) -> Iterator[tuple[str, Sequence[Json]]]:
    common = document.get("containerEdits") or {}
    for device in document.get("devices") or ():
        yield f"{document.get('kind')}={device.get('name')}", (common, device.get("containerEdits") or {})
