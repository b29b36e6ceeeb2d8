"""`docker inspect` of a container."""

from __future__ import annotations

import asyncio
import os

import msgspec

from corten.engine.containers import links
from corten.engine.containers.config import command_line
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.describe import mount_points, networks, published
from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.security import READONLY_PATHS, masked_paths
from corten.engine.containers.spec import apparmor_profile
from corten.engine.containers.state import Status
from corten.errors import NoSuchImage
from corten.snapshots.treebytes import tree_bytes
from corten.types.container import (
    ContainerConfig,
    ContainerInspect,
    GraphDriver,
    HostConfig,
    NetworkSettings,
    State,
)
from corten.types.network import EndpointSettings
from corten.units import format_time

_CGROUP_2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
_ZERO_TIME = "0001-01-01T00:00:00Z"


async def inspect_container(context: Context, container: Container, *, size: bool) -> ContainerInspect:
    """Everything about a container."""
    record = container.record
    path, args = command_line(record.config)
    joined = container_mode(record.host_config.network_mode)
    files = "" if joined else container.run_directory
    document = ContainerInspect(
        id=container.id,
        created=_time(record.created_ns),
        path=path,
        args=args,
        state=_state(container),
        image=record.image_id,
        resolv_conf_path=files and f"{files}/resolv.conf",
        hostname_path=files and f"{files}/hostname",
        hosts_path=files and f"{files}/hosts",
        log_path=container.log_path if container.record.host_config.log_config.type == "json-file" else "",
        name=f"/{container.name}",
        restart_count=container.state.restart_count,
        driver="overlay2",
        platform="linux",
        mount_label="",
        process_label="",
        app_armor_profile=apparmor_profile(record.host_config, context.host),
        exec_ids=list(container.exec_ids) or None,
        host_config=_host_config(context, container),
        graph_driver=_graph_driver(context, container),
        mounts=mount_points(container),
        config=_config(container),
        network_settings=_network_settings(context, container),
    )
    if size:
        document.size_rw = await asyncio.to_thread(tree_bytes, f"{container.directory}/upper")
        document.size_root_fs = context.images.get(record.image_id).size + document.size_rw
    return document


def _state(container: Container) -> State:
    state, status = container.state, container.status
    return State(
        status=status.value,
        running=status.is_active(),
        paused=status is Status.PAUSED,
        restarting=status is Status.RESTARTING,
        oom_killed=state.oom_killed,
        dead=status is Status.DEAD,
        pid=container.pid,
        exit_code=state.exit_code,
        error=state.error,
        started_at=_time(state.started_ns),
        finished_at=_time(state.finished_ns),
        health=container.health,
    )


def _time(ns: int) -> str:
    return format_time(ns) if ns else _ZERO_TIME


def _config(container: Container) -> ContainerConfig:
    """As Docker shows it, with the host name that the container has."""
    config = container.record.config
    host_config = container.record.host_config
    if config.hostname or host_config.uts_mode == "host" or host_config.network_mode == "host":
        return config
    return msgspec.structs.replace(config, hostname=container.id[:12])


def _host_config(context: Context, container: Container) -> HostConfig:
    """With the defaults filled in that Docker shows."""
    host_config = container.record.host_config
    privileged, policy = host_config.privileged, host_config.restart_policy
    masked = [] if privileged else masked_paths()
    readonly = [] if privileged else READONLY_PATHS
    return msgspec.structs.replace(
        host_config,
        links=links.shown(context.store, container) if container.record.links else None,
        masked_paths=masked if host_config.masked_paths is None else host_config.masked_paths,
        oom_kill_disable=_oom_kill_disable(host_config),
        restart_policy=policy if policy.name else msgspec.structs.replace(policy, name="no"),
        readonly_paths=readonly if host_config.readonly_paths is None else host_config.readonly_paths,
    )


def _oom_kill_disable(host_config: HostConfig) -> bool | None:
    """On cgroup v2 there is no such thing, and nothing to say."""
    if host_config.oom_kill_disable is None and not _CGROUP_2:
        return False
    return host_config.oom_kill_disable


def _graph_driver(context: Context, container: Container) -> GraphDriver:
    try:
        lower = context.images.lower_dirs(context.images.get(container.record.image_id))
    except NoSuchImage:
        lower = []
    directory = container.directory
    return GraphDriver(
        name="overlay2",
        data={
            "ID": container.id,
            "LowerDir": ":".join(lower),
            "MergedDir": f"{directory}/merged",
            "UpperDir": f"{directory}/upper",
            "WorkDir": f"{directory}/work",
        },
    )


def _network_settings(context: Context, container: Container) -> NetworkSettings:
    """Addresses at top level repeat those of the default bridge."""
    found = networks(context, container)
    bridge = found.get("bridge", EndpointSettings())
    running = container.status.is_running()
    return NetworkSettings(
        sandbox_id=container.id if running else "",
        sandbox_key=f"/proc/{container.pid}/ns/net" if running and container.pid else "",
        ports=published(context, container),
        endpoint_id=bridge.endpoint_id,
        gateway=bridge.gateway,
        ip_address=bridge.ip_address,
        ip_prefix_len=bridge.ip_prefix_len,
        mac_address=bridge.mac_address,
        ipv6_gateway=bridge.ipv6_gateway,
        global_ipv6_address=bridge.global_ipv6_address,
        global_ipv6_prefix_len=bridge.global_ipv6_prefix_len,
        networks=found,
    )
