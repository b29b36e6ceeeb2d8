"""Keeps netd, the containers' name server, in step with who is on which user-defined network.

Its sockets inside containers outlive us; those that it has lost are made anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from corten.engine.companion import Companion
from corten.engine.containers.hostfiles import HostFiles
from corten.engine.tasks import Background
from corten.linux.namespaces import open_namespace_of_cgroup
from corten.linux.netlink.resolver import open_resolver_sockets
from corten.linux.netlink.within import within
from corten.network.attachments import gateways
from corten.network.controller import Controller
from corten.network.egress.ruleset import egress_table
from corten.network.resolv import is_loopback
from corten.network.values import Endpoint
from corten.runtimes.connection import Connection
from corten.runtimes.protocol import Runtime

if TYPE_CHECKING:
    from corten.engine.containers.container import Container

log = logging.getLogger(__name__)

_KEY_LENGTH = 16  # of the beginning of a container's id, which is its name towards netd


class Containers(Protocol):
    """Where containers are found."""

    def find(self, container_id: str) -> Container | None:
        """By full id."""


class Resolver(Companion):
    """The engine's side of netd."""

    role = "netd"

    def __init__(
        self, runtime: Runtime, network: Controller, containers: Containers, background: Background
    ) -> None:
        super().__init__(runtime, background)
        self._network = network
        self._containers = containers
        self._files = HostFiles(network.config)
        self._held: set[str] = set()  # containers whose sockets netd has
        self.on_refused: Callable[[str, str], None] = lambda key, name: None
        """Told of a name that a policy does not allow, with the beginning of the container's id."""
        network.egress.on_rewritten = self._grant_again

    def _is_needed(self) -> bool:
        return any(is_resolved(each) for each in self._network.members.all())

    def _heard(self, event: dict[str, Any]) -> None:
        container_id, name = event.get("container", ""), event.get("name", "")
        if event.get("event") == "refused":
            self.on_refused(container_id, name)

    def _grant_again(self) -> None:
        if self._connection is not None:
            self._connection.notify("grant", {})

    # -- what happens to containers -------------------------------------------------------------

    def serve(
        self, container: Container, endpoints: Sequence[Endpoint], fds: Sequence[int], netns_fd: int
    ) -> None:
        """A container starts: its names, and the sockets that it asks through."""
        self.join(endpoints)
        self._serve(self._connection, container, endpoints, fds, netns_fd)

    def join(self, endpoints: Iterable[Endpoint]) -> None:
        """Endpoints are new, or are called something else."""
        for endpoint in endpoints:
            if is_resolved(endpoint) and self._connection is not None:
                self._connection.notify("join", _names(endpoint))

    def connected(self, container: Container, endpoint: Endpoint, netns_fd: int) -> None:
        """A running container has come to a network. Raises OSError."""
        endpoints = self._network.members.of(container.id)
        self.join([endpoint])
        if container.id[:_KEY_LENGTH] in self._held:
            self._serve(self._connection, container, endpoints, (), -1)
        elif is_resolved(endpoint):
            self._serve_anew(self._connection, container, endpoints, netns_fd)
            self._files.use_resolver(container)

    def disconnected(self, container: Container, endpoint: Endpoint) -> None:
        """A running container has left a network."""
        self.leave([endpoint])
        if container.id[:_KEY_LENGTH] in self._held:
            self._serve(self._connection, container, self._network.members.of(container.id), (), -1)

    def leave(self, endpoints: Iterable[Endpoint]) -> None:
        """Endpoints are gone."""
        for endpoint in endpoints:
            if is_resolved(endpoint) and self._connection is not None:
                self._connection.notify("leave", {"endpoint": endpoint.id})

    def drop(self, container_id: str, endpoints: Sequence[Endpoint]) -> None:
        """A container has ended, with these endpoints."""
        key = container_id[:_KEY_LENGTH]
        if key in self._held and self._connection is not None:
            self.leave(endpoints)
            self._held.discard(key)
            self._connection.notify("drop", {"container": key})

    # -- telling netd ---------------------------------------------------------------------------

    async def _tell_everything(self, connection: Connection) -> None:
        answer, _ = await connection.request("begin", {})
        held, self._held = set(answer["held"]), set()
        by_container: dict[str, list[Endpoint]] = {}
        for endpoint in self._network.members.all():
            by_container.setdefault(endpoint.container_id, []).append(endpoint)
        for container_id, endpoints in by_container.items():
            container = self._containers.find(container_id)
            if container is None or not any(is_resolved(each) for each in endpoints):
                continue
            for endpoint in endpoints:
                if is_resolved(endpoint):
                    connection.notify("join", _names(endpoint))
            if container_id[:_KEY_LENGTH] in held:
                self._held.add(container_id[:_KEY_LENGTH])
                self._serve(connection, container, endpoints, (), -1)
            elif container.pid:
                self._serve_running(connection, container, endpoints)
        connection.notify("end", {})
        connection.notify("grant", {})

    def _serve_running(
        self, connection: Connection, container: Container, endpoints: Sequence[Endpoint]
    ) -> None:
        """Give a running container the sockets again that it had."""
        try:
            netns_fd = open_namespace_of_cgroup(container.pid, "net", container.id)
            try:
                self._serve_anew(connection, container, endpoints, netns_fd)
            finally:
                os.close(netns_fd)
        except OSError as error:
            log.warning("no resolver", extra={"container": container.id, "reason": str(error)})

    def _serve_anew(
        self,
        connection: Connection | None,
        container: Container,
        endpoints: Sequence[Endpoint],
        netns_fd: int,
    ) -> None:
        fds = within(netns_fd, open_resolver_sockets)
        try:
            self._serve(connection, container, endpoints, fds, netns_fd)
        finally:
            for fd in fds:
                os.close(fd)

    def _serve(
        self,
        connection: Connection | None,
        container: Container,
        endpoints: Sequence[Endpoint],
        fds: Sequence[int],
        netns_fd: int,
    ) -> None:
        if connection is None:
            return
        host_config = container.record.host_config
        servers, own = self._files.upstreams(host_config)
        policies = self._network.members.allowed_names(container.id)
        if policies and own:  # its own packets would be refused; what may be asked is known here
            servers, own = [each for each in servers if not is_loopback(each)], False
        view: dict[str, Any] = {
            "container": container.id[:_KEY_LENGTH],
            "networks": [each.network_id for each in endpoints if is_resolved(each)],
            "servers": servers if gateways(endpoints) else [],
            "own": own,
            "egress": [egress_table(self._network.config.table), policies] if policies else None,
            "links": dict(_links(container)),
            "dotted": any(_asks_for_dots(each) for each in host_config.dns_options or ()),
        }
        if fds:
            self._held.add(view["container"])
        connection.notify("serve", view, [*fds, netns_fd] if fds and own else fds)


def is_resolved(endpoint: Endpoint) -> bool:
    """Whether the endpoint's network has names: those that users have made."""
    return bool(endpoint.dns_names)


def _names(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "network": endpoint.network_id,
        "network_name": endpoint.network_name,
        "endpoint": endpoint.id,
        "names": endpoint.dns_names,
        "ipv4": endpoint.ipv4,
        "ipv6": endpoint.ipv6,
    }


def _links(container: Container) -> Iterator[tuple[str, str]]:
    """(alias, name) of what the container is linked to on user-defined networks ("name" or "name:alias")."""
    for settings in container.record.endpoints.values():
        for text in settings.links or ():
            name, colon, alias = text.partition(":")
            yield (alias if colon else name), name


def _asks_for_dots(option: str) -> bool:
    name, _, number = option.partition(":")
    return name == "ndots" and number.isdecimal() and int(number) > 0
