"""Other OCI runtimes that a container can be run with (`docker run --runtime runc`), by name."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from corten.engine.containers.security import (
    BUILTIN,
    UNCONFINED,
    effective_capabilities,
    parse_security_opt,
    seccomp_profile,
)
from corten.engine.containers.spec import HostFacts
from corten.errors import InvalidParameter, NotSupported
from corten.linux.seccomp.profile import default_template, parse, resolve
from corten.runtimes.protocol import ExternalRuntime
from corten.types.container import HostConfig

OURS = "corten"
PROGRAM = "corten-oci"
_WELL_KNOWN = ("runc", "crun", "runsc")


class OciRuntimes:
    """Those of daemon.json, and the well-known ones installed. `default`: where none is asked for."""

    def __init__(self, configured: Mapping[str, ExternalRuntime] | None = None, default: str = OURS) -> None:
        found = {name: path for name in _WELL_KNOWN if (path := shutil.which(name))}
        self._known = {name: ExternalRuntime(name=name, path=path) for name, path in found.items()}
        self._known.update(configured or {})
        self.default = default
        self.get(default)

    def get(self, name: str) -> ExternalRuntime | None:
        """The runtime of this name; None for our own. Raises InvalidParameter."""
        if name == OURS:
            return None
        if name not in self._known:
            raise InvalidParameter(f"unknown or invalid runtime name: {name}")
        return self._known[name]

    @staticmethod
    def for_hooks() -> ExternalRuntime:
        """Our own as a program: it runs the hooks of a bundle, which the supervisor's direct way does not."""
        beside = os.path.join(os.path.dirname(sys.executable), PROGRAM)
        path = beside if os.access(beside, os.X_OK) else shutil.which(PROGRAM)
        if not path:
            raise NotSupported(f"devices with hooks need {PROGRAM}, which is not installed")
        return ExternalRuntime(name=PROGRAM, path=path)

    def paths(self) -> dict[str, str]:
        """name -> program, our own included."""
        return {OURS: PROGRAM, **{name: each.path for name, each in self._known.items()}}


def parse_runtimes(document: object) -> dict[str, ExternalRuntime]:
    """`runtimes` of daemon.json: {"name": {"path": ..., "runtimeArgs": [...]}}. Raises ValueError."""
    if not isinstance(document, dict):
        raise ValueError("runtimes must be an object")
    runtimes = {}
    for name, each in document.items():
        if name == OURS:
            raise ValueError(f"runtime name '{OURS}' is reserved")
        if not isinstance(each, dict) or not isinstance(each.get("path"), str):
            raise ValueError(f"runtime {name}: a path is needed")
        arguments = each.get("runtimeArgs") or []
        if set(each) - {"path", "runtimeArgs"} or not all(isinstance(a, str) for a in arguments):
            raise ValueError(f"runtime {name}: only path and runtimeArgs are supported by Corten")
        path = shutil.which(each["path"]) or each["path"]
        runtimes[str(name)] = ExternalRuntime(name=str(name), path=path, arguments=tuple(arguments))
    return runtimes


def with_hooks(spec: bytes, hooks: Mapping[str, Sequence[Mapping[str, object]]]) -> bytes:
    """The document with hooks in it."""
    document: dict[str, Any] = msgspec.json.decode(spec)
    document["hooks"] = hooks
    return msgspec.json.encode(document)


def with_seccomp(spec: bytes, host_config: HostConfig, host: HostFacts) -> bytes:
    """The document with its seccomp profile in it, as other runtimes read it. Raises InvalidParameter."""
    profile = seccomp_profile(parse_security_opt(host_config.security_opt), host_config, host.seccomp_profile)
    if profile == UNCONFINED:
        return spec
    template = default_template() if profile == BUILTIN else parse(profile)
    names = effective_capabilities(host_config, host.capabilities)
    document: dict[str, Any] = msgspec.json.decode(spec)
    document["linux"]["seccomp"] = resolve(template, frozenset(names))
    return msgspec.json.encode(document)
