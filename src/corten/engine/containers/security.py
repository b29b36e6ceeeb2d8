"""Capabilities and `--security-opt`."""

from __future__ import annotations

import functools
import glob
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from corten.errors import InvalidParameter
from corten.linux.capabilities import DOCKER_DEFAULT
from corten.oci import runtime_spec as oci
from corten.types.container import HostConfig

MASKED_PATHS = (
    *(f"/proc/{name}" for name in ("acpi", "asound", "interrupts", "kcore", "keys", "latency_stats")),
    *(f"/proc/{name}" for name in ("sched_debug", "scsi", "timer_list", "timer_stats")),
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
BUILTIN, UNCONFINED = "builtin", "unconfined"
READONLY_PATHS = [f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")]


@functools.cache
def masked_paths() -> list[str]:
    """What containers must not see: kernel keys and memory, timings that leak other people's work."""
    return [*MASKED_PATHS, *sorted(glob.glob("/sys/devices/system/cpu/cpu*/thermal_throttle"))]


class SeccompCompiler(Protocol):
    """Makes the kernel's filter program of a profile."""

    def default(self, capabilities: frozenset[str]) -> bytes:
        """The default profile for a process with these CAP_ names."""

    def profile(self, document: bytes, capabilities: frozenset[str]) -> bytes:
        """A profile in Docker's JSON. Raises InvalidParameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """What was said, or "". `seccomp`: BUILTIN, UNCONFINED or a profile's JSON. `apparmor`: a name."""

    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""


_PLAIN = SecurityOptions()


def parse_security_opt(options: Sequence[str] | None, *, no_new_privileges: bool = False) -> SecurityOptions:
    """Parse HostConfig.SecurityOpt. Raises InvalidParameter with Docker's text."""
    if not options:
        return SecurityOptions(no_new_privileges=True) if no_new_privileges else _PLAIN
    seccomp = apparmor = ""
    for option in options:
        if option in ("no-new-privileges", "disable"):
            no_new_privileges = no_new_privileges or option == "no-new-privileges"
            continue
        # "=" is the separator of today, ":" the one of Docker before 1.11
        key, separator, value = option.partition("=" if "=" in option else ":")
        if not separator:
            raise InvalidParameter(f'invalid --security-opt 1: "{option}"')
        if key == "seccomp":
            seccomp = value
        elif key == "no-new-privileges":
            no_new_privileges = _boolean(value, option)
        elif key == "apparmor":
            apparmor = value
        elif key != "label":  # labels mean something to SELinux only
            raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
    return SecurityOptions(no_new_privileges=no_new_privileges, seccomp=seccomp, apparmor=apparmor)


def _boolean(value: str, option: str) -> bool:
    if value in ("true", "1", "t", "T", "TRUE", "True"):
        return True
    if value in ("false", "0", "f", "F", "FALSE", "False"):
        return False
    raise InvalidParameter(f'invalid --security-opt 2: "{option}"')


def seccomp_profile(options: SecurityOptions, host_config: HostConfig, engines: str) -> str:
    """The container's: BUILTIN, UNCONFINED, or a profile's JSON. engines: what daemon.json says, likewise."""
    return options.seccomp or (UNCONFINED if host_config.privileged else engines)


def seccomp_program(profile: str, capabilities: frozenset[str], compiler: SeccompCompiler) -> bytes | None:
    """The filter that `seccomp_profile` means; None = unconfined. Raises InvalidParameter."""
    if profile == UNCONFINED:
        return None
    if profile == BUILTIN:
        return compiler.default(capabilities)
    return compiler.profile(profile.encode(), capabilities)


def effective_capabilities(host_config: HostConfig, known: Sequence[str]) -> list[str]:
    """`--cap-add`, `--cap-drop`, `--privileged` applied to the default set. known: all of this kernel's."""
    if host_config.privileged:
        return list(known)
    if not host_config.cap_add and not host_config.cap_drop:
        return list(DOCKER_DEFAULT)
    add = _names(host_config.cap_add or (), "CapAdd", known)
    drop = _names(host_config.cap_drop or (), "CapDrop", known)
    if "ALL" in add:
        return [name for name in known if name not in drop]
    if "ALL" in drop:
        return list(dict.fromkeys(add))
    kept = [name for name in DOCKER_DEFAULT if name not in drop]
    return list(dict.fromkeys([*kept, *add]))


def _names(given: Sequence[str], option: str, known: Sequence[str]) -> list[str]:
    names = []
    for text in given:
        name = text.upper()
        if name == "ALL":
            names.append(name)
            continue
        if not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name not in known:
            raise InvalidParameter(f'invalid {option}: unknown capability: "{name}"')
        names.append(name)
    return names


def oci_capabilities(names: list[str], *, root: bool = True) -> oci.Capabilities:
    """The sets of a process: bounding always; permitted and effective only for root (the kernel's rule).

    Nothing is inheritable or ambient (CVE-2022-24769).
    """
    if root:
        return oci.Capabilities(bounding=names, effective=names, permitted=names)
    return oci.Capabilities(bounding=names)
