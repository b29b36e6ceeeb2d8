"""Network namespaces with their veth pair, made ahead of need.

`make_sandbox` costs the kernel up to a millisecond under RTNL, so the janitor does it; `configure`
is what remains for the engine when a container starts: one batch of 50 to 100 us through a socket
that is already inside. A veth dies with its namespace, and that with the last descriptor and
process, so a sandbox that is dropped leaves nothing behind.
"""

from __future__ import annotations

import os

from corten.linux.namespaces import CLONE_NEWNET, setns, unshare
from corten.linux.netlink import route
from corten.linux.netlink.socket import NetlinkSocket

INTERFACE = "eth0"  # Docker's name for a container's first interface


class SandboxSpec:
    """What a sandbox is attached to.

    bridge_index: link index of the bridge that gets the host end (0: none yet); mtu: bytes, of both ends;
    isolated: no frames to the bridge's other containers (icc=false). resolver: with sockets on 127.0.0.11.
    """

    __slots__ = ("bridge_index", "isolated", "mtu", "resolver")

    def __init__(
        self, bridge_index: int, mtu: int, *, isolated: bool = False, resolver: bool = False
    ) -> None:
        self.resolver = resolver
        self.bridge_index = bridge_index
        self.mtu = mtu
        self.isolated = isolated


def make_sandbox(host: NetlinkSocket, spec: SandboxSpec, host_ifname: str) -> list[int]:
    """Make a network namespace with lo and `eth0` up, the latter wired to the bridge.

    `host`: a NETLINK_ROUTE socket in the namespace of the bridge; `host_ifname`: name of the veth's
    end there, 15 bytes at most. Changes the calling thread's namespace and comes back, so a process
    that has other threads calls this in a thread of its own.
    Returns descriptors: the namespace, a NETLINK_ROUTE socket inside it; with `resolver` its UDP and TCP
    sockets, too (`corten.linux.netlink.resolver`).
    Raises OSError and leaves nothing behind.
    """
    netns_fd, inside, further = _open_namespace(resolver=spec.resolver)
    try:
        pair = route.veth(
            host_ifname,
            INTERFACE,
            master=spec.bridge_index,
            peer_netns_fd=netns_fd,
            mtu=spec.mtu,
        )
        # hairpin: with br_netfilter, a container that calls its own published port is bridged back to itself
        port = route.bridge_port(host_ifname, hairpin=True, isolated=spec.isolated)
        host.transact([pair, port] if spec.bridge_index else [pair])
        inside.transact(
            [
                route.set_link(name=INTERFACE, link_local=False),  # in one message, "up" would come first
                route.set_link(name=INTERFACE, up=True),
            ]
        )
        route.settle(inside, name=INTERFACE)
        route.settle(host, name=host_ifname)
        if spec.bridge_index:
            route.settle(host, index=spec.bridge_index)
    except BaseException:
        inside.close()
        for fd in (netns_fd, *further):
            os.close(fd)
        raise
    return [netns_fd, inside.detach(), *further]


def make_bare_sandbox(*, resolver: bool, netns_fd: int = -1) -> list[int]:
    """As `make_sandbox`, with nothing but lo inside. netns_fd: a new namespace to be used, the caller's."""
    made_fd, inside, further = _open_namespace(resolver=resolver, netns_fd=netns_fd)
    return [made_fd, inside.detach(), *further]


def _open_namespace(*, resolver: bool, netns_fd: int = -1) -> tuple[int, NetlinkSocket, tuple[int, ...]]:
    """A new namespace with lo up, a socket inside, and the resolver's sockets."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if netns_fd >= 0:
            setns(netns_fd, CLONE_NEWNET)
        else:
            unshare(CLONE_NEWNET)
        try:
            netns_fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                inside = NetlinkSocket()
                try:
                    lo_up(inside)
                    return netns_fd, inside, _resolver_sockets() if resolver else ()
                except BaseException:
                    inside.close()
                    raise
            except BaseException:
                os.close(netns_fd)
                raise
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def _resolver_sockets() -> tuple[int, int]:
    from corten.linux.netlink.resolver import open_resolver_sockets  # brings libnftables along

    return open_resolver_sockets()


def lo_up(sock: NetlinkSocket) -> None:
    """Bring the loopback interface up (the kernel gives it 127.0.0.1/8 and ::1). About 15 us."""
    sock.transact([route.set_link(route.LOOPBACK_INDEX, up=True)])


def configure(
    sock: NetlinkSocket,
    *,
    addresses: tuple[tuple[bytes, int], ...],
    gateways: tuple[bytes, ...],
    mac: bytes,
    interface: str = INTERFACE,
    up: bool = False,
) -> None:
    """Give the container's interface its MAC, (packed address, prefix length)s and default routes.

    mac: b"" leaves it. up: the interface is not up yet. With IPv6 it gets its link-local address, too.
    """
    index = route.link_index(sock, interface)
    batch = [route.set_link(index, mac=mac)] if mac else []
    if up:
        batch.append(route.set_link(index, link_local=False))
        batch.append(route.set_link(index, up=True))
    batch += [route.address(index, packed, prefix_length) for packed, prefix_length in addresses]
    if mac and any(len(packed) == 16 for packed, _ in addresses):
        batch.append(route.address(index, link_local_address(mac), 64))
    batch += [route.default_route(index, gateway) for gateway in gateways]
    sock.transact(batch)
    if up:
        route.settle(sock, index=index)


def link_local_address(mac: bytes) -> bytes:
    """The packed IPv6 link-local address of a MAC (RFC 4291, modified EUI-64)."""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
