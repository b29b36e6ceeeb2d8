"""The places of containers in networks: made, realised in the kernel, changed while they run, and undone.

A container's way::

    endpoints = members.allocate(id, [Place(network="bridge")], name=..., ports=...)   # ledger, ports held
    with members.sandbox(id) as sandbox:
        members.realise(endpoints, sandbox)   # interfaces configured, ports open
        ... start the task with sandbox.netns_fd ...
    members.connect(...), members.disconnect(...)      # while it runs
    members.release(id)                                # whatever of this has happened
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from corten.errors import Forbidden, InternalError, Unavailable
from corten.linux.netlink.sandbox import INTERFACE
from corten.linux.netlink.socket import NetlinkSocket
from corten.network import definition
from corten.network.addresses import AddressBook, Addresses
from corten.network.attachments import Attachments, gateways, set_sysctls, socket_inside
from corten.network.egress.contents import Names, names, of_container
from corten.network.egress.keeper import EgressKeeper
from corten.network.endpoints import Endpoints
from corten.network.publisher import Publisher, Relayed
from corten.network.registry import Networks
from corten.network.sandboxes import BareMaker, Sandbox, SandboxPool
from corten.network.values import HOST, NULL, Endpoint, Place, Plugged, PortBinding, PortRequest

log = logging.getLogger(__name__)


class Members:
    """Belongs to the controller's thread.

    pool: where sandboxes of the default bridge come from, None while there is no such network; spares:
    those of user-defined bridges, not yet plugged in; bare: one with lo only, if it need not be made first.
    The daemon may put the janitor's here.
    problems: why there may be no pool.
    """

    def __init__(
        self,
        networks: Networks,
        endpoints: Endpoints,
        addresses: AddressBook,
        attachments: Attachments,
        publisher: Publisher,
        egress: EgressKeeper,
        spares: SandboxPool,
        problems: Sequence[str],
    ) -> None:
        self.pool: SandboxPool | None = None
        self.bare: Callable[[], Sandbox | None] = lambda: None
        self.spares = spares
        self.problems = problems
        self.on_left: Callable[[Plugged], None] = lambda plugged: None  # a plugin's endpoint has gone
        self._networks = networks
        self._endpoints = endpoints
        self._addresses = addresses
        self._attachments = attachments
        self._publisher = publisher
        self._egress = egress
        self._waiting: dict[str, Sandbox] = {}  # between `allocate` and `sandbox`, by container id

    def of(self, container_id: str) -> list[Endpoint]:
        """The container's places in networks."""
        return self._endpoints.of(container_id)

    def find(self, container_id: str, network_id: str) -> Endpoint | None:
        """The container's place in one network."""
        return self._endpoints.find(container_id, network_id)

    def inside(self, network_id: str) -> list[Endpoint]:
        """All containers' places in one network."""
        return self._endpoints.inside(network_id)

    def all(self) -> list[Endpoint]:
        """All containers' places in all networks."""
        return self._endpoints.all()

    def allowed_names(self, container_id: str) -> list[Names]:
        """What the policies that a container has to pass say on names; [] without any."""
        endpoints = self._endpoints.of(container_id)
        return names(endpoints, gateways(endpoints).values(), self._networks.by_id)

    def allocate(
        self,
        container_id: str,
        places: Sequence[Place],
        *,
        name: str,
        ports: Iterable[PortRequest] = (),
        sandbox: Sandbox | None = None,
    ) -> tuple[Endpoint, ...]:
        """Give a container its places in networks: addresses, MACs, held ports, all in the ledger.

        name: the container's. sandbox: to be used instead of one of ours; closed if this fails. On the
        networks "host" and "none" there are no addresses, and ports are ignored as Docker does.
        Raises NoSuchNetwork, PortUnavailable, InvalidParameter, Unavailable, Forbidden (already there),
        NotSupported; then nothing is kept.
        """
        try:
            for place in places:
                self._check_addresses(place)
            sandbox = sandbox or self.take_sandbox(places)
            host_ifname = sandbox.host_ifname if sandbox is not None else ""
            endpoints = self._endpoints.add(
                container_id, places, name=name, ports=ports, host_ifname=host_ifname
            )
        except BaseException:
            if sandbox is not None:
                sandbox.close()
            raise
        if sandbox is not None:
            self._waiting[container_id] = sandbox
        return endpoints

    def _check_addresses(self, place: Place) -> None:
        """Docker's rules on who may ask for an address. Raises InvalidParameter, NoSuchNetwork."""
        if place.ipv4 or place.ipv6:
            network = self._networks.get(place.network)
            definition.check_place(network, place, f"invalid config for network {network.name}: ")

    def reserve(self, container_id: str, place: Place) -> Addresses:
        """Addresses for a place that a network plugin is to make. Raises as `allocate`."""
        self._check_addresses(place)
        network = self._networks.get(place.network)
        if self.find(container_id, network.id) is not None:
            raise Forbidden(f"endpoint already exists in network {network.name}")
        return self._addresses.take(network, place)

    def give_back(self, network_id: str, plugged: Plugged) -> None:
        """Addresses that were reserved are free; harmless if they are already."""
        self._addresses.release(network_id, plugged.ipv4.partition("/")[0], plugged.ipv6.partition("/")[0])

    def take_sandbox(self, places: Sequence[Place]) -> Sandbox | None:
        """The namespace of a container with these places, the caller's; None if it needs none of ours.

        Taken before the rows are written, so that these name the veth and need no change later.
        """
        if not places:
            return None
        network, ifname = self._networks.get(places[0].network), places[0].ifname
        if network.driver in (HOST, NULL):
            return None
        try:
            if network is self._networks.default_bridge:
                if self.pool is None:
                    raise Unavailable("; ".join(self.problems) or "the bridge network is switched off")
                return self.pool.take()
            if network.is_bridged and (ifname or f"{network.ifname_prefix}0") == INTERFACE:
                return self.spares.take()
            return BareMaker().take()
        except OSError as error:
            raise InternalError(f"failed to make a network namespace: {error}") from error

    def sandbox(self, container_id: str) -> Sandbox:
        """The namespace made for a container by `allocate`, from now on the caller's."""
        return self._waiting.pop(container_id)

    def realise(self, endpoints: Sequence[Endpoint], sandbox: Sandbox) -> None:
        """Make and configure the interfaces, open the ports. Raises InternalError, NotSupported.

        The sandbox stays the caller's. After a failure `release` cleans up.
        """
        leading = gateways(endpoints)
        self._egress.confine(None, of_container(endpoints, self._networks.by_id))
        try:
            for position, endpoint in enumerate(endpoints):
                self._realise(endpoint, leading, sandbox, first=position == 0)
                set_sysctls(sandbox.netns_fd, endpoint.ifname, endpoint.sysctls)
                self._publisher.open(endpoint)
        except OSError as error:
            raise InternalError(f"failed to set up container networking: {error}") from error

    def _realise(
        self, endpoint: Endpoint, leading: dict[int, Endpoint], sandbox: Sandbox, *, first: bool
    ) -> None:
        network = self._networks.by_id[endpoint.network_id]
        sock = NetlinkSocket(fd=sandbox.socket_fd)
        try:
            if first and sandbox.host_ifname:
                if network is not self._networks.default_bridge:
                    self._attachments.adopt_spare(endpoint, sandbox)
                self._attachments.configure(sock, endpoint, network, leading, up=False)
                return
            self._attachments.make(endpoint, network, sandbox.netns_fd)
            self._attachments.configure(sock, endpoint, network, leading, up=True)
        finally:
            sock.detach()  # the descriptor is the sandbox's

    def connect(self, container_id: str, place: Place, *, name: str, netns_fd: int) -> Endpoint:
        """Give a running container another place. Raises as `allocate`, `realise`; then nothing is kept."""
        before = self._endpoints.of(container_id)
        self._check_addresses(place)
        (endpoint,) = self._endpoints.add(container_id, [place], name=name)
        network = self._networks.by_id[endpoint.network_id]
        try:
            self._confine_anew(before, [*before, endpoint])
            self._attachments.make(endpoint, network, netns_fd)
            with socket_inside(netns_fd) as inside:
                self._attachments.configure(inside, endpoint, network, {}, up=True)
                self._attachments.reroute(inside, gateways(before), gateways([*before, endpoint]))
            set_sysctls(netns_fd, endpoint.ifname, endpoint.sysctls)
            self._move_ports(container_id, before)
        except BaseException as error:
            self.disconnect(endpoint, netns_fd)
            if isinstance(error, OSError):
                raise InternalError(f"failed to set up container networking: {error}") from error
            raise
        return endpoint

    def disconnect(self, endpoint: Endpoint, netns_fd: int) -> None:
        """A running container leaves a network. Raises InternalError after all that could be done."""
        before = self._endpoints.of(endpoint.container_id)
        # The row last: should we die in between, the address is not given to somebody else too early.
        after = [each for each in before if each.id != endpoint.id]
        try:
            self._attachments.remove(endpoint, netns_fd)
            with socket_inside(netns_fd) as inside:
                self._attachments.reroute(inside, gateways(before), gateways(after))
        except OSError as error:
            raise InternalError(f"failed to leave network {endpoint.network_name}: {error}") from error
        finally:
            self._endpoints.remove(endpoint)
            self._tell_plugins([endpoint])
            self._move_ports(endpoint.container_id, before)
            self._confine_anew(before, after)

    def _tell_plugins(self, gone: Iterable[Endpoint]) -> None:
        for endpoint in gone:
            if endpoint.plugged is not None:
                self.on_left(endpoint.plugged)

    def _confine_anew(self, before: Sequence[Endpoint], after: Sequence[Endpoint]) -> None:
        networks = self._networks.by_id
        self._egress.confine(of_container(before, networks), of_container(after, networks))

    def _move_ports(self, container_id: str, before: Sequence[Endpoint]) -> None:
        """Lead published ports to the endpoints that lead out now; `before`: the endpoints until now."""
        bindings = [port for each in before for port in each.ports]
        if not bindings:
            return
        after = self._endpoints.redistribute(container_id, bindings)
        changed = [each for each in after if each not in before]
        gone = [each for each in before if each not in after]
        for each in gone:
            self._publisher.shut(each)
        for each in changed:
            self._publisher.open(each)

    def publish(self, container_id: str, ports: Sequence[PortRequest]) -> list[PortBinding]:
        """Publish further ports of a running container; without a way out they are ignored, as at its start.

        Raises PortUnavailable, InvalidParameter, NotSupported, Unavailable, InternalError; then nothing is
        kept.
        """
        before = {port for each in self._endpoints.of(container_id) for port in each.ports}
        after = self._endpoints.hold_ports(container_id, ports)
        added = [port for each in after for port in each.ports if port not in before]
        try:
            for endpoint in after:
                self._publisher.open(_with_ports_of(endpoint, added))
        except BaseException as error:
            self.withdraw(container_id, added)
            if isinstance(error, OSError):
                raise InternalError(f"failed to publish ports: {error}") from error
            raise
        return added

    def relayed(self, container_id: str) -> list[Relayed]:
        """The container's ports that the relay serves, as they are now."""
        return [port for each in self._endpoints.of(container_id) for port in self._publisher.relayed(each)]

    def unheld(self) -> list[tuple[Endpoint, PortBinding]]:
        """Ports of that kind whose sockets a new engine does not have yet."""
        return [(each, port) for each in self._endpoints.all() for port in self._publisher.unheld(each)]

    def hold_again(self, endpoint: Endpoint, port: PortBinding, fd: int) -> None:
        """Have such a socket: a duplicate of the relay's `fd`, or (-1) a new one."""
        self._publisher.hold_again(endpoint, port, fd)

    def withdraw(self, container_id: str, ports: Collection[PortBinding]) -> None:
        """Publish some ports of a running container no more.

        Raises InternalError after all that could be done.
        """
        try:
            for endpoint in self._endpoints.of(container_id):
                self._publisher.shut(_with_ports_of(endpoint, ports))
        except OSError as error:
            raise InternalError(f"failed to withdraw ports: {error}") from error
        finally:
            self._endpoints.give_ports_back(container_id, ports)

    def release(self, container_id: str) -> None:
        """Close the container's ports and free its addresses. Harmless if it has none."""
        waiting = self._waiting.pop(container_id, None)
        if waiting is not None:
            waiting.close()
        endpoints = self._endpoints.of(container_id)
        for endpoint in endpoints:
            try:
                self._publisher.shut(endpoint)
            except OSError as error:
                log.warning(
                    "published ports not removed from the firewall",
                    extra={"container": endpoint.container_id, "reason": str(error)},
                )
        if endpoints:
            self._endpoints.remove_all(container_id)
            self._tell_plugins(endpoints)
            try:
                self._confine_anew(endpoints, ())
            except InternalError as error:
                log.warning(
                    "egress rules not removed", extra={"container": container_id, "reason": str(error)}
                )

    def rename(self, container_id: str, name: str) -> list[Endpoint]:
        """The container has a new name; returns its endpoints."""
        return self._endpoints.rename(container_id, name)


def _with_ports_of(endpoint: Endpoint, ports: Collection[PortBinding]) -> Endpoint:
    """The endpoint with no other ports than these."""
    return replace(endpoint, ports=tuple(port for port in endpoint.ports if port in ports))
