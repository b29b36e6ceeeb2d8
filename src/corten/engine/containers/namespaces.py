"""Which namespaces a container gets, shares or joins."""

from __future__ import annotations

from collections.abc import Callable

from corten.engine.containers.userns import parse_mode
from corten.errors import InvalidParameter
from corten.oci import runtime_spec as oci
from corten.types.container import HostConfig

_NEW = {kind: oci.Namespace(type=kind) for kind in ("mount", "network", "uts", "pid", "ipc", "cgroup")}

# All of its own: by far the most common case, built once.
_PLAIN = list(_NEW.values())


def container_mode(mode: str) -> str:
    """The container named by "container:X"; "" if the mode is another one."""
    kind, _, ref = mode.partition(":")
    return ref if kind == "container" else ""


def shared_containers(host_config: HostConfig) -> list[str]:
    """The containers whose namespaces are to be joined: they share their user namespace, too."""
    modes = (host_config.network_mode, host_config.pid_mode, host_config.ipc_mode)
    return [ref for mode in modes if (ref := container_mode(mode))]


def user_namespace(host_config: HostConfig, path_of: Callable[[str, str], str]) -> oci.Namespace:
    """A new one, or that of who owns the other namespaces to be joined. path_of: see `build_namespaces`."""
    if network := container_mode(host_config.network_mode):
        return oci.Namespace(type="user", path=path_of(network, "net").removesuffix("net") + "user")
    for mode, kind in ((host_config.pid_mode, "pid"), (host_config.ipc_mode, "ipc")):
        if ref := container_mode(mode):
            return oci.Namespace(type="user", path=path_of(ref, kind).removesuffix(kind) + "user")
    return oci.Namespace(type="user")


def build_namespaces(host_config: HostConfig, path_of: Callable[[str, str], str]) -> list[oci.Namespace]:
    """The list for config.json. path_of(container, kind): /proc path of a running container's namespace."""
    network, pid = host_config.network_mode, host_config.pid_mode
    ipc, uts = host_config.ipc_mode, host_config.uts_mode
    shares = network == "host" or network.startswith("container:")
    own_ipc = ipc in ("", "private", "shareable", "none")
    if not shares and not pid and own_ipc and not uts and host_config.cgroupns_mode != "host":
        return _PLAIN
    chosen = [_NEW["mount"]]
    # The namespace of "container:X" comes to the runtime as a descriptor, like a network's sandbox.
    if network != "host":
        chosen.append(_NEW["network"])
    if uts != "host":
        chosen.append(_NEW["uts"])
    if pid != "host":
        ref = container_mode(pid)
        chosen.append(oci.Namespace(type="pid", path=path_of(ref, "pid")) if ref else _NEW["pid"])
    if ipc != "host":
        ref = container_mode(ipc)
        chosen.append(oci.Namespace(type="ipc", path=path_of(ref, "ipc")) if ref else _NEW["ipc"])
    if host_config.cgroupns_mode != "host":
        chosen.append(_NEW["cgroup"])
    return chosen


def validate_modes(host_config: HostConfig) -> None:
    """Raise InvalidParameter for modes that Docker does not know."""
    checks = (
        ("IPC", host_config.ipc_mode, ("", "none", "host", "private", "shareable")),
        ("PID", host_config.pid_mode, ("", "host")),
    )
    for label, mode, known in checks:
        if mode not in known and not container_mode(mode):
            raise InvalidParameter(f"invalid {label} mode: {mode}")
    if host_config.uts_mode not in ("", "host"):
        raise InvalidParameter(f"invalid UTS mode: {host_config.uts_mode}")
    if host_config.cgroupns_mode not in ("", "private", "host"):
        raise InvalidParameter(f"invalid cgroup namespace mode: {host_config.cgroupns_mode}")
    parse_mode(host_config.userns_mode)
