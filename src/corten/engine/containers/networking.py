"""A container's way into its network, around one start."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.places import places
from corten.engine.resolver import is_resolved
from corten.errors import Conflict, InternalError
from corten.linux.namespaces import open_namespace, open_namespace_of_cgroup
from corten.network.portspec import PUBLISH_MODE, exposed_requests, port_requests, publish_modes, with_modes
from corten.network.sandboxes import Sandbox
from corten.network.values import Endpoint, Place, PortRequest


@dataclass(frozen=True, slots=True)
class Attached:
    """What a start needs of the network: the namespace to join (None: the runtime makes one, or host)."""

    netns_fd: int | None
    addresses: Sequence[str] = ()
    resolver: bool = False  # names are asked of netd


@contextmanager
def attached(
    context: Context, container: Container, endpoints: Sequence[Endpoint] | None, *, restored: bool = False
) -> Iterator[Attached]:
    """Attach the container for the time of its start; released again if the start fails.

    endpoints: what `allocate` gave. restored: from a checkpoint, of which a namespace without interfaces
    is part. Raises Conflict (shared network of a stopped container), OSError, ....
    """
    if endpoints is None:
        ref = container_mode(container.record.host_config.network_mode)
        fd = open_joined_namespace(context, ref, "net")
        try:
            yield Attached(fd)
        finally:
            os.close(fd)
        return
    try:
        if not any(each.ifname for each in endpoints):
            with unconnected(context, container, restored=restored) as network:
                yield network
        else:
            with context.network.members.sandbox(container.id) as sandbox:
                context.network.members.realise(endpoints, sandbox)
                context.relay.sync(container.id)
                addresses = [text for each in endpoints for text, _ in each.addresses]
                resolver = any(is_resolved(each) for each in endpoints)
                if resolver:
                    context.resolver.serve(container, endpoints, sandbox.resolver_fds, sandbox.netns_fd)
                yield Attached(sandbox.netns_fd, addresses, resolver)
    except BaseException:
        context.network.members.release(container.id)
        context.relay.sync(container.id)
        context.resolver.drop(container.id, endpoints)
        raise


@contextmanager
def unconnected(context: Context, container: Container, *, restored: bool) -> Iterator[Attached]:
    """What a container without an interface starts with: a namespace, if there is one ready that will do."""
    record = container.record
    wanted = record.host_config.network_mode != "host" and record.id_maps is None and not restored
    sandbox = context.network.members.bare() if wanted else None
    if sandbox is None:
        yield Attached(None)
        return
    with sandbox:
        yield Attached(sandbox.netns_fd)


async def helpers_ready(context: Context, container: Container, endpoints: Sequence[Endpoint] | None) -> None:
    """Have netd and the relay ready, if a container with these endpoints needs them; else they are released.

    Raises InternalError.
    """
    try:
        for endpoint in endpoints or ():
            if is_resolved(endpoint):
                await context.resolver.ready()
            if endpoint.ports:
                await context.relay.ready_for([endpoint])
    except BaseException:
        context.network.members.release(container.id)
        raise


def open_joined_namespace(context: Context, ref: str, kind: str) -> int:
    """An fd of a running container's namespace. Raises NoSuchContainer, Conflict."""
    try:
        return open_namespace(running_peer(context, ref, kind).pid, kind)
    except OSError as e:
        raise Conflict(f"cannot join {kind} namespace of container {ref}: {e.strerror}") from e


def running_peer(context: Context, ref: str, kind: str) -> Container:
    """The container whose namespace is to be joined. Raises NoSuchContainer, Conflict."""
    peer = context.store.get(ref)
    if not peer.status.is_running():
        if kind == "net":
            raise Conflict(f"cannot join network of a non running container: {peer.id}")
        raise Conflict(f"failed to join {kind.upper()} namespace: container {peer.id} is not running")
    if kind == "ipc" and peer.record.host_config.ipc_mode != "shareable":
        raise Conflict(
            f"failed to join IPC namespace: container {peer.id}: non-shareable IPC "
            "(hint: use IpcMode:shareable for the donor container)"
        )
    return peer


async def owned_sandbox(context: Context, container: Container) -> Sandbox | None:
    """A network namespace that belongs to the container's user namespace; None if it needs none.

    That is a new one, or that of the container whose processes or IPC it shares (`user_namespace`).
    The caller closes it, or hands it on to `allocate`. Raises InternalError.
    """
    maps, host_config = container.record.id_maps, container.record.host_config
    mode = host_config.network_mode
    if maps is None or mode in ("none", "host") or container_mode(mode):
        return None
    userns_fd = None
    try:
        for namespace, other in (("pid", host_config.pid_mode), ("ipc", host_config.ipc_mode)):
            if userns_fd is None and (ref := container_mode(other)):
                peer = running_peer(context, ref, namespace)
                userns_fd = open_namespace_of_cgroup(peer.pid, "user", peer.id)
        return Sandbox(await context.runtime.make_owned_sandbox(*maps.documents(), userns_fd), "")
    except OSError as e:
        raise InternalError(f"failed to make a user namespace: {e}") from e
    finally:
        if userns_fd is not None:
            os.close(userns_fd)


async def plugged_places(
    context: Context, container: Container, sandbox: Sandbox | None
) -> tuple[list[Place] | None, Sandbox | None]:
    """What plugins make of its places, before they are allocated, and the namespace for `allocate`.

    None: it shares another container's. Raises PluginError, NoSuchNetwork, ....
    """
    if container_mode(container.record.host_config.network_mode):
        return None, sandbox
    return await context.network_plugins.prepare(container.id, places(container), sandbox)


def allocate(
    context: Context,
    container: Container,
    sandbox: Sandbox | None = None,
    prepared: Sequence[Place] | None = None,
) -> tuple[Endpoint, ...] | None:
    """Its places in its networks, in the ledger only; None if it shares another container's.

    sandbox: what `owned_sandbox` gave, from now on not the caller's; prepared: what `plugged_places` gave.
    Raises NoSuchNetwork, PortUnavailable, ....
    """
    record = container.record
    if container_mode(record.host_config.network_mode):
        return None
    try:
        return context.network.members.allocate(
            container.id,
            places(container) if prepared is None else prepared,
            name=container.name,
            ports=port_requests_of(container),
            sandbox=sandbox,
        )
    except BaseException:
        context.network_plugins.abandon(prepared or ())
        raise


def port_requests_of(container: Container) -> tuple[PortRequest, ...]:
    """`-p` and `-P`. Raises InvalidParameter, NotSupported."""
    host_config = container.record.host_config
    if not host_config.port_bindings and not host_config.publish_all_ports:
        return ()
    bindings = host_config.port_bindings or {}
    requests = port_requests(bindings)
    if host_config.publish_all_ports:
        requests += exposed_requests(container.record.config.exposed_ports or {}, bindings)
    return with_label(container, requests)


def with_label(container: Container, requests: Sequence[PortRequest]) -> tuple[PortRequest, ...]:
    """The requests with the modes that the container's label names. Raises InvalidParameter."""
    text = (container.record.config.labels or {}).get(PUBLISH_MODE, "")
    return with_modes(requests, publish_modes(text)) if text else tuple(requests)
