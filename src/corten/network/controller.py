"""The engine's door to the package; see `corten.network` for what is owned.

A container's way::

    sandbox = controller.pool.take()
    endpoint = controller.allocate(           # ledger, address, ports held
        id, "bridge", name=..., ports=..., host_ifname=sandbox.host_ifname)
    controller.realise(endpoint, sandbox)     # interface configured, ports open
    ... start the task with sandbox.netns_fd, then sandbox.close() ...
    controller.release(id)                                              # whatever of this has happened
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import replace
from ipaddress import IPv4Network
from socket import inet_aton

from corten.errors import (
    CortenError,
    Forbidden,
    InternalError,
    InvalidParameter,
    NoSuchNetwork,
    NotSupported,
    Unavailable,
)
from corten.ids import new_id
from corten.linux.netlink.sandbox import SandboxSpec, configure
from corten.linux.netlink.socket import NetlinkSocket
from corten.network import bridge
from corten.network.config import NO_BRIDGE, NetworkConfig
from corten.network.firewall.keeper import FirewallKeeper
from corten.network.firewall.ruleset import BridgeRules, Published
from corten.network.ipam import AddressPool, mac_of
from corten.network.ports import PortAllocator, PortUnavailable
from corten.network.predefined import ensure_predefined, is_predefined
from corten.network.publisher import Publisher, published
from corten.network.resolv import host_resolv_conf, is_ipv4, parse
from corten.network.sandboxes import Sandbox, SandboxMaker, SandboxPool
from corten.network.store import Ledger, NetworkStore
from corten.network.values import BRIDGE, Endpoint, Network, PortRequest

log = logging.getLogger(__name__)


class Controller:
    """Networks, endpoints and ports of one engine. Belongs to one thread; `restore` comes first.

    pool: where sandboxes of the default bridge come from; the daemon may put the janitor's here.
    problems: what could not be set up on this machine, for `docker info`; the rest works.
    """

    def __init__(self, ledger: Ledger, config: NetworkConfig | None = None) -> None:
        self.config = config or NetworkConfig()
        self.problems: list[str] = []
        self.pool: SandboxPool | None = None
        self._store = NetworkStore(ledger)
        self._keeper = FirewallKeeper(self.config, self._firewall_contents, self.problems)
        self._publisher = Publisher(PortAllocator(), self._keeper)
        self._networks: dict[str, Network] = {}
        self._endpoints: dict[str, dict[str, Endpoint]] = {}  # container id -> network id -> endpoint
        self._addresses: dict[str, AddressPool] = {}  # network id -> pool
        self._spec: SandboxSpec | None = None

    # -- start and end ------------------------------------------------------------------------

    def restore(self, live: Collection[str] = ()) -> None:
        """Bring ledger and kernel together after a start. `live`: ids of the running containers.

        What is missing in the kernel is made, the dead's addresses and ports become free, the
        firewall table is rewritten. What the machine does not allow ends up in `problems`.
        """
        self._networks = {each.id: each for each in ensure_predefined(self._store)}
        self._restore_endpoints(live)
        if self.config.bridge == NO_BRIDGE:
            return
        try:
            self._restore_bridge()
            self._restore_ports()
        except (OSError, CortenError) as error:
            self.problems.append(f"bridge network is not available: {error}")

    def _restore_endpoints(self, live: Collection[str]) -> None:
        self._endpoints.clear()
        for endpoint in self._store.endpoints(self._networks):
            if endpoint.container_id in live:
                self._endpoints.setdefault(endpoint.container_id, {})[endpoint.network_id] = endpoint
            else:
                self._store.remove_endpoints(endpoint.container_id)

    def _restore_bridge(self) -> None:
        network = self._default_bridge()
        living = [each for each in self._all_endpoints() if each.network_id == network.id]
        with NetlinkSocket() as sock:
            if network.bridge and network.bridge != self.config.bridge and not living:
                self._remove_own_bridge(network.bridge, sock)
            keep = bool(living and network.subnets)  # the living keep their subnet, whatever daemon.json says
            name = network.bridge if keep else self.config.bridge
            if not bridge.exists(name, sock):
                self._store.remember(_made(name), "yes")
            ours = bool(self._store.fact(_made(name)))
            if not keep:
                network = bridge.configured(network, self.config, sock, ours=ours, avoid=_nameservers())
                self._store.put_network(network)
            index = bridge.ensure(network, sock, ours=ours)
            isolated = bridge.isolate_ports(network, sock)
        self._networks[network.id] = network
        self._spec = SandboxSpec(index, network.mtu, isolated=isolated)
        self.pool = self.pool or SandboxMaker(self._spec, self.config.link_prefix)
        self._addresses[network.id] = pool = _address_pool(network, self.config)
        for endpoint in living:
            pool.adopt(endpoint.ipv4)

    def _restore_ports(self) -> None:
        self._keeper.restore(self._store)
        for endpoint in self._all_endpoints():
            self._publisher.rehold(endpoint)

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
        self._keeper.close()

    def dismantle(self) -> None:
        """Remove everything of ours from the kernel (uninstall; no container may run). Raises OSError."""
        self._keeper.remove()
        with NetlinkSocket() as sock:
            for network in self._networks.values():
                if network.bridge:
                    self._remove_own_bridge(network.bridge, sock)

    # -- networks -----------------------------------------------------------------------------

    def networks(self) -> list[Network]:
        """All networks, oldest first."""
        return list(self._networks.values())

    def get_network(self, ref: str) -> Network:
        """By name, id, or unambiguous beginning of an id. Raises NoSuchNetwork, InvalidParameter."""
        for network in self._networks.values():
            if ref in (network.name, network.id):
                return network
        found = [each for each in self._networks.values() if ref and each.id.startswith(ref)]
        if len(found) > 1:
            raise InvalidParameter(
                f"network {ref} is ambiguous ({len(found)} matches found based on ID prefix)"
            )
        if not found:
            raise NoSuchNetwork(ref)
        return found[0]

    def create_network(self, name: str) -> Network:
        """Refuses: user-defined networks are not there yet. Raises Forbidden, NotSupported."""
        if is_predefined(name):
            raise Forbidden(f"operation is not permitted on predefined {name} network")
        raise NotSupported("user-defined networks are not supported yet")

    def remove_network(self, ref: str) -> None:
        """Refuses for Docker's own networks. Raises NoSuchNetwork, Forbidden."""
        network = self.get_network(ref)
        raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")

    def sandbox_spec(self) -> SandboxSpec:
        """What sandboxes of the default bridge are attached to, for the janitor. Raises Unavailable."""
        if self._spec is None:
            raise Unavailable("the bridge network is not available on this machine")
        return self._spec

    @property
    def host_gateway(self) -> str:
        """What "host-gateway" in --add-host stands for; "" without a bridge."""
        subnets = self._default_bridge().subnets
        return self.config.host_gateway or (subnets[0].gateway if subnets else "")

    # -- endpoints ----------------------------------------------------------------------------

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """The container's places in networks."""
        return list(self._endpoints.get(container_id, {}).values())

    def endpoints_in(self, network_id: str) -> list[Endpoint]:
        """All containers' places in one network."""
        return [each for each in self._all_endpoints() if each.network_id == network_id]

    def allocate(
        self,
        container_id: str,
        network_ref: str,
        *,
        name: str,
        ports: Iterable[PortRequest] = (),
        ipv4: str = "",
        mac: str = "",
        host_ifname: str = "",
    ) -> Endpoint:
        """Give a container its place in a network: address, MAC, held ports, all in the ledger.

        name: the container's. host_ifname: of its sandbox; if that is not known yet, `realise` notes it
        (which costs another write). On the networks "host" and "none" there are no addresses, and ports are
        ignored as Docker does. Raises NoSuchNetwork, PortUnavailable, InvalidParameter, Unavailable,
        Forbidden (already there), NotSupported; then nothing is kept.
        """
        network = self.get_network(network_ref)
        if network.id in self._endpoints.get(container_id, {}):
            raise Forbidden(f"endpoint with name {name} already exists in network {network.name}")
        endpoint = Endpoint(
            id=new_id(),
            network_id=network.id,
            network_name=network.name,
            container_id=container_id,
            name=name,
            host_ifname=host_ifname,
        )
        if network.driver == BRIDGE:
            endpoint = self._bridged(endpoint, network, ports, ipv4, mac)
        try:
            self._store.add_endpoint(endpoint)
        except BaseException:
            self._forget(endpoint)
            raise
        self._endpoints.setdefault(container_id, {})[network.id] = endpoint
        return endpoint

    def _bridged(
        self, endpoint: Endpoint, network: Network, ports: Iterable[PortRequest], ipv4: str, mac: str
    ) -> Endpoint:
        pool = self._addresses.get(network.id)
        if pool is None:
            raise Unavailable("; ".join(self.problems) or "the bridge network is switched off")
        if ipv4 and is_predefined(network.name):
            raise InvalidParameter("user specified IP address is supported on user defined networks only")
        hardware = _hardware_address(mac) if mac else ""
        address = pool.take_this(ipv4) if ipv4 else pool.take()
        try:
            bindings = self._publisher.hold(endpoint.id, address, ports, network.host_address)
        except PortUnavailable as error:
            pool.release(address)
            raise PortUnavailable(
                "driver failed programming external connectivity on endpoint"
                f" {endpoint.name} ({endpoint.id}): {error}"
            ) from error
        except BaseException:
            pool.release(address)
            raise
        return replace(
            endpoint,
            mac=hardware or mac_of(address),
            ipv4=address,
            prefix_length=pool.prefix_length,
            gateway=self.config.default_gateway or network.subnets[0].gateway,
            ports=bindings,
        )

    def realise(self, endpoint: Endpoint, sandbox: Sandbox) -> Endpoint:
        """Configure the sandbox's interface, note its veth, open the ports. Raises InternalError.

        The sandbox stays the caller's. After a failure `release` cleans up.
        """
        if not endpoint.ipv4:
            return endpoint
        try:
            if endpoint.host_ifname != sandbox.host_ifname:
                endpoint = replace(endpoint, host_ifname=sandbox.host_ifname)
                self._store.set_host_ifname(endpoint.id, sandbox.host_ifname)
                self._endpoints[endpoint.container_id][endpoint.network_id] = endpoint
            self._configure(endpoint, sandbox)
            self._publisher.open(endpoint)
        except OSError as error:
            raise InternalError(f"failed to set up container networking: {error}") from error
        return endpoint

    def _configure(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        sock = NetlinkSocket(fd=sandbox.socket_fd)
        try:
            configure(
                sock,
                addresses=((inet_aton(endpoint.ipv4), endpoint.prefix_length),),
                gateways=(inet_aton(endpoint.gateway),),
                mac=bytes.fromhex(endpoint.mac.replace(":", "")),
            )
        finally:
            sock.detach()  # the descriptor is the sandbox's

    def release(self, container_id: str) -> None:
        """Close the container's ports and free its addresses. Harmless if it has none."""
        endpoints = self._endpoints.pop(container_id, None)
        if not endpoints:
            return
        for endpoint in endpoints.values():
            self._forget(endpoint)
        self._store.remove_endpoints(container_id)

    def rename(self, container_id: str, name: str) -> None:
        """The container has a new name."""
        endpoints = self._endpoints.get(container_id)
        if endpoints:
            self._store.rename_container(container_id, name)
            for key, endpoint in endpoints.items():
                endpoints[key] = replace(endpoint, name=name)

    # -- inside -------------------------------------------------------------------------------

    def _forget(self, endpoint: Endpoint) -> None:
        try:
            self._publisher.close(endpoint)
        except OSError as error:
            log.warning(
                "published ports not removed from the firewall",
                extra={"container": endpoint.container_id, "reason": str(error)},
            )
        pool = self._addresses.get(endpoint.network_id)
        if pool is not None and endpoint.ipv4:
            pool.release(endpoint.ipv4)

    def _all_endpoints(self) -> list[Endpoint]:
        return [each for places in self._endpoints.values() for each in places.values()]

    def _default_bridge(self) -> Network:
        return next(each for each in self._networks.values() if each.name == "bridge")

    def _firewall_contents(self) -> tuple[list[BridgeRules], list[Published]]:
        bridges = [
            BridgeRules(
                bridge=network.bridge,
                subnet=str(network.subnets[0].subnet),
                icc=network.icc,
                masquerade=network.masquerade,
            )
            for network in self._networks.values()
            if network.subnets
        ]
        return bridges, [port for endpoint in self._all_endpoints() for port in published(endpoint)]

    def _remove_own_bridge(self, name: str, sock: NetlinkSocket) -> None:
        if self._store.fact(_made(name)):
            bridge.remove(name, sock)
            self._store.remember(_made(name), "")


def _made(bridge_name: str) -> str:
    return f"bridge made by us: {bridge_name}"


def _nameservers() -> list[IPv4Network]:
    """The host's name servers, which no network of ours may hide."""
    servers = parse(host_resolv_conf()[1]).nameservers
    return [IPv4Network(each) for each in servers if is_ipv4(each)]


def _address_pool(network: Network, config: NetworkConfig) -> AddressPool:
    (subnet,) = network.subnets
    reserved = {subnet.gateway, config.default_gateway} - {""}
    return AddressPool(subnet.subnet, ip_range=subnet.ip_range, reserved=reserved)


def _hardware_address(text: str) -> str:
    """A MAC in the form 02:42:ac:11:00:02. Raises InvalidParameter."""
    try:
        packed = bytes.fromhex(text.replace("-", ":").replace(":", ""))
    except ValueError:
        packed = b""
    if len(packed) != 6 or packed[0] & 1:
        raise InvalidParameter(f"invalid MAC address: {text}")
    return packed.hex(":")
