"""Reading and checking config.json. Source: runtime-spec 1.2, config.md and config-linux.md."""

from __future__ import annotations

import json
import os

from corten.linux.personality import DOMAINS
from corten.oci_runtime.errors import RuntimeFailure
from corten.task.mount_options import PROPAGATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_BYTES = 16 << 20
_UNSUPPORTED_LINUX = ("intelRdt", "timeOffsets", "memoryPolicy")


def read(bundle: str) -> dict[str, Any]:
    """The bundle's config.json with absolute paths. Raises RuntimeFailure."""
    path = f"{bundle}/config.json"
    try:
        with open(path, "rb") as f:
            spec: dict[str, Any] = json.loads(f.read(_MAX_BYTES))
    except FileNotFoundError:
        raise RuntimeFailure(f"JSON specification file {path} not found") from None
    except ValueError as e:
        raise RuntimeFailure(f"{path}: {e}") from None
    _check(spec, path)
    root = spec["root"]["path"]
    spec["root"]["path"] = os.path.realpath(os.path.join(bundle, root))
    for mount in spec.get("mounts") or ():
        source = mount.get("source")
        options = mount.get("options") or ()
        is_bind = mount.get("type") == "bind" or "bind" in options or "rbind" in options
        if is_bind and source and not source.startswith("/"):
            mount["source"] = os.path.join(bundle, source)
    return spec


def _check(spec: Any, path: str) -> None:
    if not isinstance(spec, dict):
        raise RuntimeFailure(f"{path} is not a JSON object")
    if not str(spec.get("ociVersion", "")).startswith("1."):
        raise RuntimeFailure(f"unsupported ociVersion {spec.get('ociVersion')!r}")
    if not isinstance(spec.get("root"), dict) or not spec["root"].get("path"):
        raise RuntimeFailure("root.path must be given")
    if not isinstance(spec.get("process"), dict) or not spec["process"].get("args"):
        raise RuntimeFailure("process.args must not be empty")
    if not str(spec["process"].get("cwd", "")).startswith("/"):
        raise RuntimeFailure("process.cwd must be an absolute path")
    linux = spec.setdefault("linux", {})
    for key in _UNSUPPORTED_LINUX:
        if linux.get(key):
            raise RuntimeFailure(f"linux.{key} is not supported by Corten yet")
    personality = linux.get("personality") or {}
    if personality.get("flags") or personality.get("domain", "LINUX") not in DOMAINS:
        raise RuntimeFailure(f"unknown linux.personality {personality}")
    if linux.get("rootfsPropagation", "") not in ("", *PROPAGATION):
        raise RuntimeFailure(f"unknown linux.rootfsPropagation {linux['rootfsPropagation']!r}")
    limits = [limit.get("type") for limit in spec["process"].get("rlimits") or ()]
    if len(set(limits)) != len(limits):
        raise RuntimeFailure("a resource limit is given twice in process.rlimits")
    namespaces = [n.get("type") for n in linux.get("namespaces") or ()]
    if "mount" not in namespaces:
        raise RuntimeFailure("a container without a mount namespace is not supported by Corten")
    if len(set(namespaces)) != len(namespaces):
        raise RuntimeFailure("a namespace type is listed twice")
    if "uts" not in namespaces and (spec.get("hostname") or spec.get("domainname")):
        raise RuntimeFailure("unable to set hostname without a private UTS namespace")
    cgroup = linux.get("cgroupsPath") or ""
    if ":" in cgroup:
        raise RuntimeFailure("systemd cgroup paths are not supported by Corten: use the cgroupfs manager")
