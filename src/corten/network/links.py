"""The kernel's side of networks: the bridge of each, or what its macvlan and ipvlan links hang on.

Whether a link is ours is in the ledger before the link is made (`made`): what is not ours is used, but
neither changed nor removed.
"""

from __future__ import annotations

import errno
import os

from corten.errors import InternalError, InvalidParameter, NotSupported
from corten.linux.netlink import route
from corten.linux.netlink.sandbox import SandboxSpec
from corten.linux.netlink.socket import NetlinkSocket
from corten.network import bridge, overlay
from corten.network.store import NetworkStore
from corten.network.values import IPVLAN, MACVLAN, Network

_MAX_VLAN = 4094


class Links:
    """Makes and removes them; knows how to attach to each network."""

    def __init__(self, store: NetworkStore, sock: NetlinkSocket) -> None:
        """sock: a NETLINK_ROUTE socket of the host's namespace."""
        self._store = store
        self._sock = sock
        self._specs: dict[str, SandboxSpec] = {}

    def ensure(self, network: Network) -> None:
        """Make what the network needs, if it is not there. Raises OSError, Conflict, NotSupported, ...."""
        if network.is_bridged:
            self._ensure_bridge(network)
        elif network.driver in (MACVLAN, IPVLAN):
            self._ensure_parent(network)

    def spec(self, network_id: str) -> SandboxSpec | None:
        """How containers are attached to the network; None if it could not be set up."""
        return self._specs.get(network_id)

    def is_ours(self, name: str) -> bool:
        """Whether we have made the link of this name."""
        return bool(self._store.fact(_made(name)))

    def will_make(self, name: str) -> None:
        """Note that the link of this name is ours from now on."""
        self._store.remember(_made(name), "yes")

    def remove(self, network: Network) -> None:
        """Remove what we have made for the network. Raises OSError."""
        self._specs.pop(network.id, None)
        if network.overlay is not None:
            self.remove_own(overlay.tunnel_name(network))
        name = network.bridge or parent_name(network)
        if name:
            self.remove_own(name)

    def remove_own(self, name: str) -> None:
        """Remove a link if it is ours. Raises OSError."""
        if not self.is_ours(name):
            return
        link = route.find_link(self._sock, name)
        if link is not None:
            self._sock.transact([route.delete_link(index=link.index)])
        self._store.remember(_made(name), "")

    def _ensure_bridge(self, network: Network) -> None:
        name = network.bridge
        if not bridge.exists(name, self._sock):
            self.will_make(name)
        index = bridge.ensure(network, self._sock, ours=self.is_ours(name))
        if network.overlay is not None:
            self.will_make(overlay.tunnel_name(network))
            overlay.ensure_tunnel(network, index, self._sock)
        isolated = bridge.isolate_ports(network, self._sock)
        self._specs[network.id] = SandboxSpec(index, network.mtu, isolated=isolated)

    def _ensure_parent(self, network: Network) -> None:
        name = parent_name(network)
        link = route.find_link(self._sock, name)
        if link is None:
            self.will_make(name)
            try:
                self._sock.transact([self._new_parent(network, name)])
            except OSError as error:
                self._store.remember(_made(name), "")
                raise _explained(error, name) from error
            link = route.get_link(self._sock, name)
        self._specs[network.id] = SandboxSpec(link.index, network.mtu or link.mtu)

    def probe(self, network: Network) -> None:
        """Raise NotSupported if this kernel cannot make the network's containers their links."""
        spec = self._specs.get(network.id)
        if network.is_bridged or spec is None:
            return
        name = f"probe-{network.id[:8]}"
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sock.transact([link_message(network, spec, name, home, b"")])
            self._sock.transact([route.delete_link(name=name)])
        except OSError as error:
            raise unsupported(error, network.driver) from error
        finally:
            os.close(home)

    def _new_parent(self, network: Network, name: str) -> bytes:
        if not network.parent:
            return route.dummy(name)
        base, dot, number = name.rpartition(".")
        if not dot or not (number.isascii() and number.isdigit()):
            raise InvalidParameter(f"invalid subinterface vlan name {name}, example formatting is eth0.10")
        if not 1 <= int(number) <= _MAX_VLAN:
            raise InvalidParameter(f"vlan id must be between 1-4094, received: {number}")
        parent = route.find_link(self._sock, base)
        if parent is None:
            raise InvalidParameter(
                f"failed to find master interface {base} on the Docker host: Link not found"
            )
        return route.vlan(name, parent=parent.index, number=int(number))


def parent_name(network: Network) -> str:
    """The link on which the network's macvlan or ipvlan links are made; "" for other networks."""
    if network.driver not in (MACVLAN, IPVLAN):
        return ""
    return network.parent or f"dm-{network.id[:12]}"


def link_message(network: Network, spec: SandboxSpec, name: str, netns_fd: int, mac: bytes) -> bytes:
    """The message that makes a container's macvlan or ipvlan link in its namespace."""
    if network.driver == MACVLAN:
        mode = route.MACVLAN_MODES[network.mode]
        return route.macvlan(name, parent=spec.bridge_index, netns_fd=netns_fd, mode=mode, mac=mac)
    mode, flag = route.IPVLAN_MODES[network.mode], route.IPVLAN_FLAGS[network.flag]
    return route.ipvlan(name, parent=spec.bridge_index, netns_fd=netns_fd, mode=mode, flag=flag)


def unsupported(error: OSError, driver: str) -> NotSupported | InternalError:
    """What to say when the kernel refuses a link of a driver."""
    if error.errno in (errno.EOPNOTSUPP, errno.ENODEV, errno.EPROTONOSUPPORT):
        return NotSupported(f"this machine's kernel has no {driver} (module {driver} is missing)")
    return InternalError(f"failed to create the {driver} interface: {error}")


def _explained(error: OSError, name: str) -> NotSupported | InternalError:
    return unsupported(error, "vlan" if "." in name else "dummy")


def _made(link_name: str) -> str:
    return f"bridge made by us: {link_name}"
