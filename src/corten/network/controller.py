"""The engine's door to the package; see `corten.network` for what is owned.

A container's way::

    endpoints = controller.allocate(id, [Place(network="bridge")], name=..., ports=...)   # ledger, ports held
    with controller.sandbox(id) as sandbox:
        controller.realise(endpoints, sandbox)   # interfaces configured, ports open
        ... start the task with sandbox.netns_fd ...
    controller.connect(...), controller.disconnect(...)      # while it runs
    controller.release(id)                                   # whatever of this has happened
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

from corten.errors import CortenError, Forbidden, InternalError, Unavailable
from corten.linux.netlink import route
from corten.linux.netlink.sandbox import INTERFACE, SandboxSpec
from corten.linux.netlink.socket import NetlinkSocket
from corten.network import bridge, definition, overlay
from corten.network.addresses import AddressBook, Addresses
from corten.network.attachments import Attachments, gateways, set_sysctls, socket_inside
from corten.network.config import NO_BRIDGE, NetworkConfig
from corten.network.definition import ByPlugins
from corten.network.egress.contents import Names, everything, names, of_container, of_network
from corten.network.egress.keeper import EgressKeeper
from corten.network.egress.ruleset import Confined
from corten.network.endpoints import Endpoints
from corten.network.firewall.contents import bridge_rules
from corten.network.firewall.keeper import FirewallKeeper, Rules
from corten.network.firewall.ruleset import Published
from corten.network.links import Links
from corten.network.plugged.claims import Claims
from corten.network.ports import PortAllocator
from corten.network.predefined import is_predefined
from corten.network.publisher import Publisher, Relayed, published
from corten.network.registry import Networks
from corten.network.resolv import host_nameservers
from corten.network.sandboxes import BareMaker, Sandbox, SandboxMaker, SandboxPool
from corten.network.store import Ledger, NetworkStore
from corten.network.subnets import choose_subnet
from corten.network.values import (
    HOST,
    NULL,
    Endpoint,
    IPNetwork,
    Network,
    Place,
    Plugged,
    PortBinding,
    PortRequest,
)
from corten.types.network import NetworkCreate

log = logging.getLogger(__name__)


class Controller:
    """Networks, endpoints and ports of one engine. Belongs to one thread; `restore` comes first.

    pool: where sandboxes of the default bridge come from; spares: those of user-defined bridges, not yet
    plugged in. The daemon may put the janitor's here.
    problems: what could not be set up on this machine, for `docker info`; the rest works.
    """

    def __init__(self, ledger: Ledger, config: NetworkConfig | None = None) -> None:
        self.config = config or NetworkConfig()
        self.problems: list[str] = []
        self.pool: SandboxPool | None = None
        self.spares: SandboxPool = SandboxMaker(SandboxSpec(0, 1500, resolver=True), self.config.link_prefix)
        self._store = NetworkStore(ledger)
        self._sock = NetlinkSocket()
        self._networks = Networks(self._store)
        self._keeper = FirewallKeeper(self.config, self._store, self._firewall_contents, self.problems)
        self._publisher = Publisher(PortAllocator(), self._keeper)
        self._addresses = AddressBook(self.problems)
        self.egress = EgressKeeper(self.config.table, self._keeper, self._confined)
        self.claims = Claims(ledger)
        self.on_left: Callable[[Plugged], None] = lambda plugged: None  # a plugin's endpoint has gone
        self._waiting: dict[str, Sandbox] = {}  # between `allocate` and `sandbox`, by container id
        self._links = Links(self._store, self._sock)
        self._attachments = Attachments(self._links, self._sock)
        self._endpoints = Endpoints(
            self._store, self._networks, self._addresses, self._publisher, self.config
        )

    # -- start and end ------------------------------------------------------------------------

    def restore(self, live: Collection[str] = ()) -> None:
        """Bring ledger and kernel together after a start. `live`: ids of the running containers.

        What is missing in the kernel is made, the dead's addresses and ports become free, the
        firewall table is rewritten. What the machine does not allow ends up in `problems`.
        """
        self._networks.load()
        plugged = {each.id: each.plugged for each in self.claims.all() if each.plugged is not None}
        self._endpoints.load(live, {link.name for link in route.links(self._sock)}, plugged)
        if self.config.bridge != NO_BRIDGE:
            self._restoring(self._networks.default_bridge, self._restore_default_bridge)
        for network in self._networks:
            if not is_predefined(network.name):
                self._restoring(network, partial(self._set_up, network))
        self._restore_ports()

    def _restoring(self, network: Network, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, CortenError) as error:
            self.problems.append(f"{network.name} network is not available: {error}")

    def _restore_default_bridge(self) -> None:
        network = self._networks.default_bridge
        living = self._endpoints.inside(network.id)
        if network.bridge and network.bridge != self.config.bridge and not living:
            self._links.remove_own(network.bridge)
        keep = bool(living and network.subnets)  # the living keep their subnet, whatever daemon.json says
        name = network.bridge if keep else self.config.bridge
        if not bridge.exists(name, self._sock):
            self._links.will_make(name)
        if not keep:
            ours = self._links.is_ours(name)
            network = bridge.configured(network, self.config, self._sock, ours=ours, avoid=self._taken())
            self._networks.put(network)
        self._set_up(network)
        self.pool = self.pool or SandboxMaker(self.sandbox_spec(), self.config.link_prefix)

    def _set_up(self, network: Network) -> None:
        """Have in the kernel what the network needs, and its addresses at hand."""
        if network.config_only:
            return
        self._links.ensure(network)
        self._addresses.open(network)
        for endpoint in self._endpoints.inside(network.id):
            self._addresses.adopt(endpoint)

    def _restore_ports(self) -> None:
        self._keeper.restore()
        for endpoint in self._endpoints.all():
            self._publisher.rehold(endpoint)
        try:
            self.egress.restore()
        except OSError as error:
            self.problems.append(f"no egress control: {error}")

    @property
    def firewall_events(self) -> int | None:
        """A descriptor for the event loop; when it is readable, call `check_firewall`. None: no firewall."""
        return self._keeper.events

    def check_firewall(self) -> None:
        """Write our rules again if somebody has removed them (`nft flush ruleset`)."""
        self._keeper.check()

    def close(self) -> None:
        """The engine ends: ports are given back; bridges, rules and containers stay."""
        self._publisher.drop_all()
        self.egress.close()
        self._keeper.close()
        self._sock.close()

    def dismantle(self) -> None:
        """Remove everything of ours from the kernel (uninstall; no container may run). Raises OSError."""
        self.egress.remove()
        self._keeper.remove()
        for network in self._networks:
            self._links.remove(network)

    # -- networks -----------------------------------------------------------------------------

    def networks(self) -> list[Network]:
        """All networks, oldest first."""
        return list(self._networks)

    def get_network(self, ref: str) -> Network:
        """By name, id, or unambiguous beginning of an id. Raises NoSuchNetwork, InvalidParameter."""
        return self._networks.get(ref)

    def create_network(self, request: NetworkCreate) -> Network:
        """Make a network: its row, then what it needs in the kernel; after a failure there is nothing.

        Raises InvalidParameter, Forbidden, Conflict, NotFound, NotSupported, Unavailable, InternalError.
        """
        network = self.define_network(request)
        self.establish_network(network)
        return network

    def check_name(self, name: str) -> None:
        """Whether a new network may be called so. Raises InvalidParameter, Forbidden, Conflict."""
        definition.checked_name(name, self._networks.by_id)

    def define_network(self, request: NetworkCreate, plugins: ByPlugins | None = None) -> Network:
        """The network that a request asks for; nothing is changed yet. Raises as `create_network`.

        plugins: what they have said of it.
        """
        own = [subnet.subnet for each in self._networks if not each.config_only for subnet in each.subnets]
        network = definition.define(request, self._networks.by_id, self._choose_subnet, own, plugins)
        try:
            network = overlay.located(bridge.with_mtu(network, self.config, self._sock), self._sock)
        except OSError as error:
            raise InternalError(f"failed to create network {network.name}: {error}") from error
        if network.bridge and any(each.bridge == network.bridge for each in self._networks):
            raise Forbidden(f"network with bridge name {network.bridge} already exists")
        return network

    def establish_network(self, network: Network) -> None:
        """Make a network that is defined; after a failure there is nothing.

        Raises Conflict, NotSupported, InternalError.
        """
        self.check_name(network.name)
        self._networks.put(network)
        try:
            self._set_up(network)
            self._links.probe(network)
        except OSError as error:
            self._undo(network)
            raise InternalError(f"failed to create network {network.name}: {error}") from error
        except BaseException:
            self._undo(network)
            raise
        try:
            self._keeper.add_network(bridge_rules(network))
            self.egress.confine(None, of_network(network))
        except (OSError, InternalError) as error:  # of two IP versions one may have come about
            self._undo(network)
            self._remove_rules(network)
            raise InternalError(f"failed to create network {network.name}: {error}") from error

    def _remove_rules(self, network: Network) -> None:
        try:
            self._keeper.remove_network(bridge_rules(network))
            self.egress.confine(of_network(network), None)
        except (
            OSError,
            InternalError,
        ) as error:  # rules for a link that is gone: gone themselves at the next start
            log.warning("rules not removed", extra={"network": network.id, "reason": str(error)})

    def _undo(self, network: Network) -> None:
        self._addresses.close(network.id)
        try:
            self._links.remove(network)
        except OSError as error:
            log.warning("link not removed", extra={"network": network.id, "reason": str(error)})
        self._networks.remove(network)

    def remove_network(self, ref: str) -> Network:
        """Remove a network that nobody is in; returns what it was.

        Raises NoSuchNetwork, Forbidden (Docker's own, or in use), InternalError.
        """
        network = self.check_unused(ref)
        # The kernel first, the row last: should we die in between, the next start makes it whole again.
        try:
            self._links.remove(network)
        except OSError as error:
            raise InternalError(f"error while removing network: {error}") from error
        self._addresses.close(network.id)
        self._networks.remove(network)
        self._remove_rules(network)
        return network

    def check_unused(self, ref: str) -> Network:
        """A network that may be removed. Raises NoSuchNetwork, Forbidden."""
        network = self._networks.get(ref)
        if is_predefined(network.name):
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        if any(each.config_from == network.name for each in self._networks if network.config_only):
            raise Forbidden(f'error while removing network: configuration network "{network.name}" is in use')
        users = self._endpoints.inside(network.id)
        if users:
            listed = ", ".join(f'name:"{each.name}" id:"{each.id[:12]}"' for each in users)
            raise Forbidden(
                f"error while removing network: network {network.name} has active endpoints ({listed})"
            )
        return network

    def sandbox_spec(self) -> SandboxSpec:
        """What sandboxes of the default bridge are attached to, for the janitor. Raises Unavailable."""
        spec = self._links.spec(self._networks.default_bridge.id)
        if spec is None:
            raise Unavailable("the bridge network is not available on this machine")
        return spec

    @property
    def host_gateway(self) -> str:
        """What "host-gateway" in --add-host stands for; "" without a bridge."""
        subnet = self._networks.default_bridge.subnet_of(4)
        return self.config.host_gateway or (subnet.gateway if subnet else "")

    # -- endpoints ----------------------------------------------------------------------------

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """The container's places in networks."""
        return self._endpoints.of(container_id)

    def endpoint(self, container_id: str, network_id: str) -> Endpoint | None:
        """The container's place in one network."""
        return self._endpoints.find(container_id, network_id)

    def endpoints_in(self, network_id: str) -> list[Endpoint]:
        """All containers' places in one network."""
        return self._endpoints.inside(network_id)

    def all_endpoints(self) -> list[Endpoint]:
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

    @property
    def uses_plugins(self) -> bool:
        """Whether there is a network of which plugins make a part."""
        return self._networks.use_plugins

    def reserve(self, container_id: str, place: Place) -> Addresses:
        """Addresses for a place that a network plugin is to make. Raises as `allocate`."""
        self._check_addresses(place)
        network = self._networks.get(place.network)
        if self.endpoint(container_id, network.id) is not None:
            raise Forbidden(f"endpoint already exists in network {network.name}")
        return self._addresses.take(network, place)

    def give_back(self, network_id: str, plugged: Plugged) -> None:
        """Addresses that were reserved are free; harmless if they are already."""
        self._addresses.release(network_id, plugged.ipv4.partition("/")[0], plugged.ipv6.partition("/")[0])

    def link_mac(self, name: str) -> str:
        """The MAC of a link of the machine. Raises OSError."""
        return route.get_link(self._sock, name).mac

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
        self.egress.confine(None, of_container(endpoints, self._networks.by_id))
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
        self.egress.confine(of_container(before, networks), of_container(after, networks))

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

    # -- what others ask us -------------------------------------------------------------------

    def _taken(self) -> list[IPNetwork]:
        """What no subnet of our choice may overlap: our networks, and the host's name servers."""
        ours = [subnet.subnet for each in self._networks for subnet in each.subnets if not each.config_only]
        default = self._networks.default_bridge
        return [each for each in ours if each not in [s.subnet for s in default.subnets]] + host_nameservers()

    def _choose_subnet(self, version: int) -> IPNetwork:
        ours = [subnet.subnet for each in self._networks for subnet in each.subnets if not each.config_only]
        taken = [*ours, *host_nameservers(), *bridge.routed(self._sock)]
        return choose_subnet(self.config.all_pools, taken, version)

    def _confined(self) -> list[Confined]:
        return everything(self._endpoints.all(), self._networks.by_id)

    def _firewall_contents(self) -> tuple[list[Rules], list[Published]]:
        networks: list[Rules] = [bridge_rules(each) for each in self._networks]
        return networks, [port for endpoint in self._endpoints.all() for port in published(endpoint)]


def _with_ports_of(endpoint: Endpoint, ports: Collection[PortBinding]) -> Endpoint:
    """The endpoint with no other ports than these."""
    return replace(endpoint, ports=tuple(port for port in endpoint.ports if port in ports))
