"""The engine's door to the package; see `corten.network` for what is owned. Containers' places: `members`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial

from corten.errors import CortenError, Forbidden, InternalError, Unavailable
from corten.linux.netlink import route
from corten.linux.netlink.sandbox import SandboxSpec
from corten.linux.netlink.socket import NetlinkSocket
from corten.network import bridge, definition, overlay
from corten.network.addresses import AddressBook
from corten.network.attachments import Attachments
from corten.network.config import NO_BRIDGE, NetworkConfig
from corten.network.definition import ByPlugins
from corten.network.egress.contents import everything, of_network
from corten.network.egress.keeper import EgressKeeper
from corten.network.egress.ruleset import Confined
from corten.network.endpoints import Endpoints
from corten.network.firewall.contents import bridge_rules
from corten.network.firewall.keeper import FirewallKeeper, Rules
from corten.network.firewall.ruleset import Published
from corten.network.links import Links
from corten.network.members import Members
from corten.network.plugged.claims import Claims
from corten.network.ports import PortAllocator
from corten.network.predefined import is_predefined
from corten.network.publisher import Publisher, published
from corten.network.registry import Networks
from corten.network.resolv import host_nameservers
from corten.network.sandboxes import SandboxMaker
from corten.network.store import Ledger, NetworkStore
from corten.network.subnets import choose_subnet
from corten.network.values import (
    IPNetwork,
    Network,
)
from corten.types.network import NetworkCreate

log = logging.getLogger(__name__)


class Controller:
    """Networks, endpoints and ports of one engine. Belongs to one thread; `restore` comes first.

    members: the containers in them.
    problems: what could not be set up on this machine, for `docker info`; the rest works.
    """

    def __init__(self, ledger: Ledger, config: NetworkConfig | None = None) -> None:
        self.config = config or NetworkConfig()
        self.problems: list[str] = []
        self._store = NetworkStore(ledger)
        self._sock = NetlinkSocket()
        self._networks = Networks(self._store)
        self._keeper = FirewallKeeper(self.config, self._store, self._firewall_contents, self.problems)
        self._publisher = Publisher(PortAllocator(), self._keeper)
        self._addresses = AddressBook(self.problems)
        self.egress = EgressKeeper(self.config.table, self._keeper, self._confined)
        self.claims = Claims(ledger)
        self._links = Links(self._store, self._sock)
        self._endpoints = Endpoints(
            self._store, self._networks, self._addresses, self._publisher, self.config
        )
        self.members = Members(
            self._networks,
            self._endpoints,
            self._addresses,
            Attachments(self._links, self._sock),
            self._publisher,
            self.egress,
            SandboxMaker(SandboxSpec(0, 1500, resolver=True), self.config.link_prefix),
            self.problems,
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
        self.members.pool = self.members.pool or SandboxMaker(self.sandbox_spec(), self.config.link_prefix)

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

    @property
    def uses_plugins(self) -> bool:
        """Whether there is a network of which plugins make a part."""
        return self._networks.use_plugins

    def link_mac(self, name: str) -> str:
        """The MAC of a link of the machine. Raises OSError."""
        return route.get_link(self._sock, name).mac

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
