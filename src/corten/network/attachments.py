"""Containers' interfaces: made, configured, and taken away again.

The first one of a container comes ready-made out of a pool of sandboxes wherever that is possible; further
ones, and those of macvlan and ipvlan, are made straight in the container's namespace.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_interface

from corten.errors import InternalError, Unavailable
from corten.linux.netlink import route, sysctl
from corten.linux.netlink.sandbox import INTERFACE, SandboxSpec, configure
from corten.linux.netlink.socket import NetlinkSocket
from corten.linux.netlink.within import within
from corten.network.links import Links, link_message, unsupported
from corten.network.sandboxes import Sandbox
from corten.network.values import IPVLAN, Endpoint, Network, StaticRoute

_NO_ROUTE = (errno.ESRCH, errno.ENOENT)
_FAMILIES = {4: route.AF_INET, 6: route.AF_INET6}


def gateways(endpoints: Sequence[Endpoint]) -> dict[int, Endpoint]:
    """The endpoint that leads a container's packets out, by IP version.

    As Docker: the one with the highest priority, and of several the one whose network's name comes first.
    """
    if len(endpoints) == 1:
        only = endpoints[0]
        return {version: only for version in (4, 6) if (only.gateway if version == 4 else only.gateway6)}
    ordered = sorted(endpoints, key=lambda each: (-each.gw_priority, each.network_name))
    found: dict[int, Endpoint] = {}
    for each in ordered:
        if each.gateway:
            found.setdefault(4, each)
        if each.gateway6:
            found.setdefault(6, each)
    return found


class Attachments:
    """Puts endpoints into network namespaces. Belongs to the event loop's thread."""

    def __init__(self, links: Links, sock: NetlinkSocket) -> None:
        """sock: a NETLINK_ROUTE socket of the host's namespace."""
        self._links = links
        self._sock = sock

    def adopt_spare(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """Plug a spare sandbox's interface into the endpoint's bridge. Raises OSError."""
        spec = self._spec(endpoint)
        self._sock.transact(
            [
                route.set_link(name=sandbox.host_ifname, master=spec.bridge_index, mtu=spec.mtu),
                route.bridge_port(sandbox.host_ifname, hairpin=True, isolated=spec.isolated),
            ]
        )
        inside = NetlinkSocket(fd=sandbox.socket_fd)
        try:
            inside.transact([route.set_link(name=INTERFACE, mtu=spec.mtu)])
        finally:
            inside.detach()  # the descriptor is the sandbox's
        route.settle(self._sock, name=sandbox.host_ifname)

    def make(self, endpoint: Endpoint, network: Network, netns_fd: int) -> None:
        """Make the endpoint's interface in a namespace, down. Raises OSError, NotSupported, Unavailable."""
        if endpoint.plugged is not None and endpoint.plugged.link:
            index = route.link_index(self._sock, endpoint.plugged.link)
            self._sock.transact([route.move_link(index, endpoint.ifname, netns_fd)])
            return
        spec = self._spec(endpoint)
        if network.is_bridged:
            pair = route.veth(
                endpoint.host_ifname,
                endpoint.ifname,
                master=spec.bridge_index,
                peer_netns_fd=netns_fd,
                mtu=spec.mtu,
            )
            port = route.bridge_port(endpoint.host_ifname, hairpin=True, isolated=spec.isolated)
            self._sock.transact([pair, port])
            return
        try:
            self._sock.transact(
                [link_message(network, spec, endpoint.ifname, netns_fd, packed_mac(endpoint.mac))]
            )
        except OSError as error:
            raise unsupported(error, network.driver) from error

    def configure(
        self,
        sock: NetlinkSocket,
        endpoint: Endpoint,
        network: Network,
        leading: Mapping[int, Endpoint],
        *,
        up: bool,
    ) -> None:
        """Give the interface its addresses; and routes if it is the container's way out. Raises OSError.

        sock: a NETLINK_ROUTE socket inside. leading: see `gateways`. up: bring it up first.
        """
        texts = []
        if leading.get(4) is endpoint:
            texts.append(endpoint.gateway)
        if leading.get(6) is endpoint:
            texts.append(endpoint.gateway6)
        configure(
            sock,
            addresses=tuple(
                (_packed(text), length) for text, length in (*endpoint.addresses, *_link_local(endpoint))
            ),
            gateways=tuple(_packed(text) for text in texts),
            mac=b"" if network.driver == IPVLAN else packed_mac(endpoint.mac),
            interface=endpoint.ifname,
            up=up,
        )
        if network.driver == IPVLAN and network.mode != "l2":
            index = route.link_index(sock, endpoint.ifname)
            sock.transact(
                [
                    route.route(index, destination=bytes(size), prefix_length=0)
                    for size, text in ((4, endpoint.ipv4), (16, endpoint.ipv6))
                    if text
                ]
            )
        if endpoint.plugged is not None and endpoint.plugged.routes:
            index = route.link_index(sock, endpoint.ifname)
            sock.transact([_static(index, each) for each in endpoint.plugged.routes])
        if up and endpoint.host_ifname:
            route.settle(self._sock, name=endpoint.host_ifname)

    def reroute(
        self, sock: NetlinkSocket, before: Mapping[int, Endpoint], after: Mapping[int, Endpoint]
    ) -> None:
        """Lead the default routes of a running container another way. Raises OSError."""
        for version in (4, 6):
            old, new = before.get(version), after.get(version)
            if (old and old.id) == (new and new.id):
                continue
            # It has gone with its interface, if that is why.
            sock.transact([route.delete_default_route(_FAMILIES[version])], tolerate=_NO_ROUTE)
            if new is not None:
                index = route.link_index(sock, new.ifname)
                text = new.gateway if version == 4 else new.gateway6
                sock.transact([route.default_route(index, _packed(text))])

    def remove(self, endpoint: Endpoint, netns_fd: int) -> None:
        """Take the endpoint's interface away, if it is still there; a plugin gets its link back.

        Raises OSError.
        """
        if endpoint.plugged is not None and endpoint.plugged.link:
            self._give_back(endpoint.ifname, endpoint.plugged.link, netns_fd)
            return
        if endpoint.host_ifname:
            self._delete(self._sock, endpoint.host_ifname)
        elif endpoint.ifname:
            with socket_inside(netns_fd) as inside:
                self._delete(inside, endpoint.ifname)

    def _give_back(self, ifname: str, name: str, netns_fd: int) -> None:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with socket_inside(netns_fd) as inside:
                link = route.find_link(inside, ifname)
                if link is not None:
                    down = route.set_link(link.index, up=False)
                    inside.transact([down, route.move_link(link.index, name, home)])
        finally:
            os.close(home)

    def _delete(self, sock: NetlinkSocket, name: str) -> None:
        link = route.find_link(sock, name)
        if link is not None:
            sock.transact([route.delete_link(index=link.index)])

    def _spec(self, endpoint: Endpoint) -> SandboxSpec:
        spec = self._links.spec(endpoint.network_id)
        if spec is None:
            raise Unavailable(f"network {endpoint.network_name} is not available on this machine")
        return spec


def _static(index: int, wanted: StaticRoute) -> bytes:
    destination = ip_interface(wanted.destination).network
    return route.route(
        index,
        destination=destination.network_address.packed,
        prefix_length=destination.prefixlen,
        gateway=_packed(wanted.next_hop) if wanted.next_hop else b"",
    )


def _link_local(endpoint: Endpoint) -> list[tuple[str, int]]:
    return [(text, 64 if ":" in text else 16) for text in endpoint.link_local]


def socket_inside(netns_fd: int) -> NetlinkSocket:
    """A NETLINK_ROUTE socket in another namespace, the caller's. Raises OSError."""
    return within(netns_fd, NetlinkSocket)


def set_sysctls(netns_fd: int, ifname: str, settings: Sequence[str]) -> None:
    """Set "net.ipv4.conf.IFNAME.name=value" of an interface. Raises InternalError."""

    def write() -> None:
        for setting in settings:
            key, _, value = setting.partition("=")
            words = [ifname if word.upper() == "IFNAME" else word for word in key.split(".")[1:]]
            try:
                sysctl.write("/".join(words), value)
            except OSError as error:
                raise InternalError(f"failed to set sysctl {key} on {ifname}: {error.strerror}") from error

    if settings:
        within(netns_fd, write)


def _packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def packed_mac(text: str) -> bytes:
    """02:42:ac:11:00:02 as bytes."""
    return bytes.fromhex(text.replace(":", ""))
