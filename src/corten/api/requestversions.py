"""What requests mean in each version of the API: what a version does not know is ignored or refused, what it
meant otherwise is made what we mean by it.

`PARAMETERS` and `DOCUMENTS` are the tables. Clients of the newest version are touched only by the few rows
that have no end. Answers are in `versions`.

Source: moby's API version history, 1.24 to 1.51, and the checks of version in its routers (28.5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from corten.api.versions import MIN_VERSION, Version
from corten.errors import InvalidParameter
from corten.linux import cgroups
from corten.types.container import BindOptions, CreateRequest, HostConfig, Mount, UpdateRequest
from corten.types.exec import ExecConfig, ExecStartConfig
from corten.types.network import EndpointSettings, NetworkCreate

# ------------------------------------------------------------ parameters

PARAMETERS: Final[Mapping[tuple[str, str], Sequence[tuple[str, Version]]]] = {
    # operation: parameters, and the first version that knows them
    ("POST", "/containers/create"): [("platform", (1, 41))],
    ("POST", "/containers/{id}/stop"): [("signal", (1, 42))],
    ("POST", "/containers/{id}/restart"): [("signal", (1, 42))],
    ("POST", "/containers/{id}/wait"): [("condition", (1, 30))],
    ("GET", "/containers/{id}/stats"): [("one-shot", (1, 41))],
    ("GET", "/images/json"): [("shared-size", (1, 42)), ("manifests", (1, 47))],
    ("GET", "/images/{name}/json"): [("manifests", (1, 48)), ("platform", (1, 49))],
    ("GET", "/images/{name}/history"): [("platform", (1, 48))],
    ("GET", "/images/{name}/get"): [("platform", (1, 48))],
    ("GET", "/images/get"): [("platform", (1, 48))],
    ("POST", "/images/load"): [("platform", (1, 48))],
    ("POST", "/images/{name}/push"): [("platform", (1, 46))],
    ("POST", "/images/create"): [("platform", (1, 32))],
    ("DELETE", "/images/{name}"): [("platforms", (1, 50))],
    ("GET", "/system/df"): [("type", (1, 42))],
    ("POST", "/build"): [("platform", (1, 32)), ("outputs", (1, 40))],
    ("POST", "/build/prune"): [
        *(("reserved-space", (1, 48)), ("max-used-space", (1, 48)), ("min-free-space", (1, 48))),
    ],
}


def unknown_parameters(method: str, template: str, version: Version) -> list[str]:
    """Parameters of an operation that a version does not know yet."""
    return [name for name, since in PARAMETERS.get((method, template), ()) if version < since]


# ------------------------------------------------------------ documents

Warn = Callable[[str], None]


class Row(NamedTuple):
    """What is done to a document of versions from `since` on and before `before` (None: to this day)."""

    document: type
    edit: Callable[..., None]
    since: Version = MIN_VERSION
    before: Version | None = None


def adapt(document: object, version: Version) -> list[str]:
    """Make of a request's document what its version meant by it; returns warnings for the client.

    Raises InvalidParameter for what the version cannot ask for.
    """
    warnings: list[str] = []
    kind: type = type(document)
    for row in _rows(kind, version):
        row.edit(document, warnings.append)
    return warnings


@lru_cache(maxsize=256)
def _rows(document: type, version: Version) -> tuple[Row, ...]:
    return tuple(
        row
        for row in DOCUMENTS
        if row.document is document and version >= row.since and (row.before is None or version < row.before)
    )


def _host(request: CreateRequest) -> HostConfig:
    assert request.host_config is not None
    return request.host_config


def _mounts(request: CreateRequest) -> Sequence[Mount]:
    return _host(request).mounts or ()


def _endpoints(request: CreateRequest) -> dict[str, EndpointSettings]:
    networking = request.networking_config
    found = (networking and networking.endpoints_config) or {}
    return {name: settings for name, settings in found.items() if settings is not None}


def _on_a_host(request: CreateRequest, warn: Warn) -> None:
    request.host_config = request.host_config or HostConfig()


def _no_swappiness(request: CreateRequest, warn: Warn) -> None:
    if _host(request).memory_swappiness == -1:
        _host(request).memory_swappiness = None  # how the CLI says that it was not given


def _no_auto_remove(request: CreateRequest, warn: Warn) -> None:
    _host(request).auto_remove = False  # the client removed it


def _recursive_binds(request: CreateRequest, warn: Warn) -> None:
    for mount in _mounts(request):
        if mount.bind_options is not None:
            mount.bind_options.non_recursive = False


def _shareable_ipc(request: CreateRequest, warn: Warn) -> None:
    host = _host(request)
    host.ipc_mode = host.ipc_mode or "shareable"


_cgroup_version = lru_cache(cgroups.detect)


def _hosts_cgroups(request: CreateRequest, warn: Warn) -> None:
    """Where cgroup v2 is, they were always the container's own."""
    host = _host(request)
    if not host.cgroupns_mode and _cgroup_version() == "v1":
        host.cgroupns_mode = "host"


def _options_of_other_mounts(request: CreateRequest, warn: Warn) -> None:
    """They were not looked at; from 1.42 on they are refused."""
    for mount in _mounts(request):
        if mount.bind_options is not None:
            mount.bind_options.create_mountpoint = False
        if mount.type != "volume":
            mount.volume_options = None
        if mount.type != "tmpfs":
            mount.tmpfs_options = None


def _no_console_size(request: CreateRequest, warn: Warn) -> None:
    _host(request).console_size = (0, 0)


def _no_kernel_memory(request: CreateRequest, warn: Warn) -> None:
    _host(request).kernel_memory = 0


def _no_annotations(request: CreateRequest, warn: Warn) -> None:
    _host(request).annotations = None


def _no_start_interval(request: CreateRequest, warn: Warn) -> None:
    if request.healthcheck is not None:
        request.healthcheck.start_interval = 0


def _shallow_read_only(request: CreateRequest, warn: Warn) -> None:
    """Read-only mounts were so at their top only; who asks for more must not get less in silence."""
    for mount in _mounts(request):
        if mount.type != "bind":
            continue
        options = mount.bind_options or BindOptions()
        if options.read_only_force_recursive:
            raise InvalidParameter("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
        if mount.read_only:
            options.read_only_non_recursive = True
            mount.bind_options = options


def _one_network(request: CreateRequest, warn: Warn) -> None:
    networking = request.networking_config
    endpoints = (networking and networking.endpoints_config) or {}
    if len(endpoints) > 1:
        names = ", ".join(endpoints)
        text = f"Container cannot be created with multiple network endpoints: {names}"
        raise InvalidParameter(text)


def _mac_of_the_container(request: CreateRequest, warn: Warn) -> None:
    """An endpoint had none of its own."""
    if not request.mac_address:
        for endpoint in _endpoints(request).values():
            endpoint.mac_address = ""


def _mac_of_the_endpoint(request: CreateRequest, warn: Warn) -> None:
    if not request.mac_address:
        return
    endpoint = _endpoints(request).get(_host(request).network_mode)
    if endpoint is not None and endpoint.mac_address not in ("", request.mac_address):
        raise InvalidParameter(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main "
            "network, or be left empty"
        )
    warn(
        "The container-wide MacAddress field is now deprecated. "
        "It should be specified in EndpointsConfig instead."
    )


def _no_subpath(request: CreateRequest, warn: Warn) -> None:
    if any(mount.volume_options and mount.volume_options.subpath for mount in _mounts(request)):
        raise InvalidParameter("VolumeOptions.Subpath needs API v1.45 or newer")


def _one_priority(request: CreateRequest, warn: Warn) -> None:
    for endpoint in _endpoints(request).values():
        endpoint.gw_priority = 0


def _no_image_mounts(request: CreateRequest, warn: Warn) -> None:
    if any(mount.type == "image" for mount in _mounts(request)):
        raise InvalidParameter('Mount type "Image" needs API v1.48 or newer')


def _warn_of_the_volume_driver(request: CreateRequest, warn: Warn) -> None:
    def has_own(mount: Mount) -> bool:
        options = mount.volume_options
        return bool(options and options.driver_config and options.driver_config.name)

    if _host(request).volume_driver and any(
        mount.type == "volume" and not has_own(mount) for mount in _mounts(request)
    ):
        warn(
            "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via "
            "'mount'. Use '--mount type=volume,volume-driver=...' instead"
        )


def _unlimited_pids(request: CreateRequest, warn: Warn) -> None:
    host = _host(request)
    if host.pids_limit is not None and host.pids_limit <= 0:
        host.pids_limit = None  # 0 and -1 both mean unlimited


def _update_without_pids(request: UpdateRequest, warn: Warn) -> None:
    request.pids_limit = None


def _update_without_kernel_memory(request: UpdateRequest, warn: Warn) -> None:
    request.kernel_memory = 0


def _exec_without_console_size(config: ExecConfig | ExecStartConfig, warn: Warn) -> None:
    config.console_size = None


def _always_ipv4(create: NetworkCreate, warn: Warn) -> None:
    create.enable_ipv4 = None


DOCUMENTS: Final[Sequence[Row]] = (
    Row(CreateRequest, _on_a_host),
    Row(CreateRequest, _no_swappiness),
    Row(CreateRequest, _no_auto_remove, before=(1, 25)),
    Row(CreateRequest, _recursive_binds, before=(1, 40)),
    Row(CreateRequest, _shareable_ipc, before=(1, 40)),
    Row(CreateRequest, _hosts_cgroups, before=(1, 41)),
    Row(CreateRequest, _options_of_other_mounts, before=(1, 42)),
    Row(CreateRequest, _no_console_size, before=(1, 42)),
    Row(CreateRequest, _no_kernel_memory, since=(1, 42)),
    Row(CreateRequest, _no_annotations, before=(1, 43)),
    Row(CreateRequest, _no_start_interval, before=(1, 44)),
    Row(CreateRequest, _shallow_read_only, before=(1, 44)),
    Row(CreateRequest, _one_network, before=(1, 44)),
    Row(CreateRequest, _mac_of_the_container, before=(1, 44)),
    Row(CreateRequest, _mac_of_the_endpoint, since=(1, 44)),
    Row(CreateRequest, _no_subpath, before=(1, 45)),
    Row(CreateRequest, _one_priority, before=(1, 48)),
    Row(CreateRequest, _no_image_mounts, before=(1, 48)),
    Row(CreateRequest, _warn_of_the_volume_driver, since=(1, 48)),
    Row(CreateRequest, _unlimited_pids),
    Row(UpdateRequest, _update_without_pids, before=(1, 40)),
    Row(UpdateRequest, _update_without_kernel_memory, since=(1, 42)),
    Row(ExecConfig, _exec_without_console_size, before=(1, 42)),
    Row(ExecStartConfig, _exec_without_console_size, before=(1, 42)),
    Row(NetworkCreate, _always_ipv4, before=(1, 48)),
)
