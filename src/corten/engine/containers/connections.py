"""Connecting containers to networks and disconnecting them, running or not.

A container's record says what it is on while it runs; its endpoints are where it is now.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.hostfiles import HostFiles
from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.places import place, wishes
from corten.errors import Conflict, CortenError, Forbidden, InvalidParameter, NotFound
from corten.linux.namespaces import open_namespace_of_cgroup
from corten.network.definition import check_place
from corten.network.values import HOST, NULL, Network
from corten.types.network import EndpointSettings, NetworkConnect, NetworkDisconnect

log = logging.getLogger(__name__)

_SHORT = 12  # digits of an id that are enough to take it for one


class Connections:
    """`network connect` and `network disconnect`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._files = HostFiles(context.network.config)

    async def connect(self, ref: str, request: NetworkConnect) -> None:
        """Connect a container. Raises NoSuchNetwork, NoSuchContainer, Forbidden, InvalidParameter, ...."""
        context = self._context
        container = context.store.get(request.container)
        network = context.network.get_network(ref)
        settings = request.endpoint_config or EndpointSettings()
        async with container.lock:
            self._check(container, network)
            wanted = place(container, network.name, settings)
            if wanted.ipv4 or wanted.ipv6:
                check_place(network, wanted)
            if not container.status.is_running():
                self._remember(container, network, settings)
                return
            with self._namespace(container) as netns_fd:
                await context.resolver.ready()
                if network.uses_plugins:
                    key = f"/proc/{container.pid}/ns/net"
                    wanted = await context.network_plugins.plug(container.id, network, wanted, key)
                try:
                    endpoint = context.network.members.connect(
                        container.id, wanted, name=container.name, netns_fd=netns_fd
                    )
                except BaseException:
                    context.network_plugins.abandon([wanted])
                    raise
                self._remember(container, network, settings)
                context.resolver.connected(container, endpoint, netns_fd)
                context.relay.sync(container.id)
            self._files.add_addresses(container, endpoint)
        context.publish_network("connect", endpoint)

    async def disconnect(self, ref: str, request: NetworkDisconnect) -> None:
        """Disconnect a container. Raises NoSuchNetwork, NoSuchContainer, Forbidden, Conflict, ...."""
        context = self._context
        network = context.network.get_network(ref)
        if request.force and not self._exists(request.container):
            self._force_out(network, request.container)
            return
        container = context.store.get(request.container)
        async with container.lock:
            if network.driver == HOST and container.record.host_config.network_mode == "host":
                raise InvalidParameter(
                    "container cannot be disconnected from host network or connected to host network"
                )
            running = container.status.is_running()
            endpoint = context.network.members.find(container.id, network.id)
            if (endpoint is None) if running else (network.name not in _names(container, network)):
                where = f"network {network.name}" if running else f"the network {network.name}"
                raise Forbidden(f"container {container.id} is not connected to {where}")
            if endpoint is not None:
                with self._namespace(container) as netns_fd:
                    context.network.members.disconnect(endpoint, netns_fd)
                    context.resolver.disconnected(container, endpoint)
                    context.relay.sync(container.id)
            self._forget(container, network)
            if endpoint is not None:
                self._files.remove_addresses(container, endpoint)
        if endpoint is not None:
            context.publish_network("disconnect", endpoint)

    def undo_unfinished(self, container: Container) -> None:
        """Take back what an engine has begun to connect and did not live to finish.

        The record names a network last: an endpoint that it does not name may have no address inside.
        """
        context = self._context
        for endpoint in context.network.members.of(container.id):
            network = context.network.get_network(endpoint.network_id)
            if _names(container, network):
                continue
            try:
                with self._namespace(container) as netns_fd:
                    context.network.members.disconnect(endpoint, netns_fd)
            except CortenError as e:
                log.warning("connection not undone", extra={"container": container.id, "reason": str(e)})

    def _check(self, container: Container, network: Network) -> None:
        mode = container.record.host_config.network_mode
        if container_mode(mode) or (mode == "host" and network.driver != HOST):
            raise InvalidParameter(
                "container sharing network namespace with another container or host cannot be connected to"
                " any other network"
            )
        if network.driver == HOST:
            raise InvalidParameter(
                "container cannot be disconnected from host network or connected to host network"
            )
        joined = wishes(container.record)
        if (network.driver == NULL and joined) or "none" in joined:
            raise InvalidParameter(
                "container cannot be connected to multiple networks with one of the networks in private"
                " (none) mode"
            )
        if container.status.is_running() and network.name in _names(container, network):
            raise Forbidden(f"endpoint with name {container.name} already exists in network {network.name}")

    def _exists(self, ref: str) -> bool:
        try:
            self._context.store.get(ref)
        except CortenError:
            return False
        return True

    def _force_out(self, network: Network, name: str) -> None:
        """An endpoint that no container has; Docker's way out after its crashes, of which we leave none."""
        raise NotFound(f"endpoint {name} not found")

    @contextmanager
    def _namespace(self, container: Container) -> Iterator[int]:
        try:
            fd = open_namespace_of_cgroup(container.pid, "net", container.id)
        except OSError as error:
            raise Conflict(f"container {container.id} is not running") from error
        try:
            yield fd
        finally:
            os.close(fd)

    def _remember(self, container: Container, network: Network, settings: EndpointSettings) -> None:
        record = container.record
        record.endpoints = {**wishes(record), network.name: settings}
        record.networkless = False
        self._context.store.save_record(container)

    def _forget(self, container: Container, network: Network) -> None:
        record = container.record
        gone = _names(container, network)
        record.endpoints = {
            name: each for name, each in wishes(record).items() if name not in (*gone, network.id)
        }
        record.networkless = not record.endpoints
        self._context.store.save_record(container)


def _names(container: Container, network: Network) -> list[str]:
    """[the network's name], if the container's record has it, by whatever it was called there."""
    for ref in wishes(container.record):
        if ref == network.name or (len(ref) >= _SHORT and network.id.startswith(ref)):
            return [network.name, ref]
    return []
