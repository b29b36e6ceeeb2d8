"""Parts of documents that listing and inspection share."""

from __future__ import annotations

import os
import stat
import time

import msgspec

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.places import dns_names, wishes
from corten.engine.containers.state import Status
from corten.errors import NoSuchNetwork
from corten.network.documents import endpoint_settings, port_map
from corten.network.predefined import is_predefined
from corten.snapshots.treebytes import tree_bytes
from corten.spans import human
from corten.types.container import MountPoint, Port, PortBinding
from corten.types.network import EndpointSettings

_BLOCK = 512  # the unit of st_blocks


def status_text(container: Container, now_ns: int | None = None) -> str:
    """The STATUS column of `docker ps`."""
    now = time.time_ns() if now_ns is None else now_ns
    state, status = container.state, container.status
    since_start = human((now - state.started_ns) / 1e9)
    since_end = human((now - state.finished_ns) / 1e9)
    if status is Status.RUNNING:
        return f"Up {since_start}{_health_text(container)}"
    if status is Status.PAUSED:
        return f"Up {since_start} (Paused)"
    if status is Status.RESTARTING:
        return f"Restarting ({state.exit_code}) {since_end} ago"
    if status is Status.REMOVING:
        return "Removal In Progress"
    if status is Status.DEAD:
        return "Dead"
    if not state.started_ns:
        return "Created"
    return f"Exited ({state.exit_code}) {since_end} ago"


def _health_text(container: Container) -> str:
    if container.health is None:
        return ""
    status = container.health.status
    return f" (health: {status})" if status == "starting" else f" ({status})"


def mount_points(container: Container) -> list[MountPoint]:
    """`Mounts`, tmpfs included if it was asked for by --mount (Docker leaves --tmpfs out)."""
    points = []
    for record in container.record.mounts:
        if record.kind == "tmpfs" and record.mode:
            continue
        points.append(
            MountPoint(
                type=record.kind,
                name=record.name,
                source=record.source,
                destination=record.destination,
                driver=record.driver if record.kind == "volume" else "",
                mode=record.mode,
                rw=not record.read_only,
                propagation=record.propagation,
            )
        )
    return points


def networks(context: Context, container: Container) -> dict[str, EndpointSettings]:
    """`NetworkSettings.Networks`: what the container has, or will ask for when it starts."""
    found: dict[str, EndpointSettings] = {}
    if container_mode(container.record.host_config.network_mode):
        return found
    asked = wishes(container.record)
    for endpoint in context.network.members.of(container.id):
        given = asked.get(endpoint.network_name) or asked.get(endpoint.network_id)
        found[endpoint.network_name] = _with_wishes(endpoint_settings(endpoint), given)
    if not found:
        started = container.state.started_ns > 0
        for name, settings in asked.items():
            names = () if is_predefined(name) else dns_names(container, settings)
            found[name] = msgspec.structs.replace(
                settings,
                dns_names=list(names) or None,
                network_id=network_id(context, name) if started else "",
            )
    return found


def _with_wishes(settings: EndpointSettings, wishes: EndpointSettings | None) -> EndpointSettings:
    if wishes is None:
        return settings
    return msgspec.structs.replace(
        settings,
        ipam_config=wishes.ipam_config,
        links=wishes.links,
        aliases=wishes.aliases,
        driver_opts=wishes.driver_opts,
        gw_priority=wishes.gw_priority,
    )


def published(context: Context, container: Container) -> dict[str, list[PortBinding] | None]:
    """`NetworkSettings.Ports` of a running container; {} of others."""
    if not container.status.is_running():
        return {}
    ports = port_map(
        context.network.members.of(container.id), sorted(container.record.config.exposed_ports or ())
    )
    return msgspec.convert(ports, dict[str, list[PortBinding] | None])


def listed_ports(context: Context, container: Container) -> list[Port]:
    """The PORTS column of `docker ps`, as documents."""
    ports = []
    for key, hosts in published(context, container).items():
        number, _, protocol = key.partition("/")
        if not hosts:
            ports.append(Port(private_port=int(number), type=protocol))
        for host in hosts or ():
            ports.append(
                Port(
                    ip=host.host_ip,
                    private_port=int(number),
                    public_port=int(host.host_port),
                    type=protocol,
                )
            )
    return ports


def network_id(context: Context, name: str) -> str:
    """Id of a network; "" if it is gone."""
    try:
        return context.network.get_network(name).id
    except NoSuchNetwork:
        return ""


def stored_bytes(path: str) -> int:
    """Bytes of all files below a directory, or those on the disk of a sparse file; 0 if it is not there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0
    return status.st_blocks * _BLOCK if stat.S_ISREG(status.st_mode) else tree_bytes(path)
