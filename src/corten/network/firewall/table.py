"""The table in the kernel."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterable, Sequence

from corten.linux.netlink import conntrack, elements
from corten.linux.netlink.nftables import Nftables
from corten.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket
from corten.network.firewall import ruleset
from corten.network.firewall.ruleset import IPV4, BridgeRules, Family, Published
from corten.network.values import PROTOCOLS

log = logging.getLogger(__name__)


class Firewall:
    """Owner of one nf_tables table of one family. Raises OSError."""

    def __init__(self, table: str, family: Family = IPV4) -> None:
        """`table`: the table's name; engines side by side use different ones."""
        self.table = table
        self._family = family
        self._socket = NetlinkSocket(NETLINK_NETFILTER)

    def replace(
        self, bridges: Iterable[BridgeRules], published: Iterable[Published], *, guard_forwarding: bool
    ) -> None:
        """Put exactly this into the kernel in one step, whatever was there before."""
        self._apply(
            ruleset.render(self._family, self.table, bridges, published, guard_forwarding=guard_forwarding)
        )

    def publish(self, ports: Sequence[Published]) -> None:
        """Open the ports: all, or none."""
        messages = []
        for port in ports:
            name, key = self._key(port)
            target = b""
            if port.host_port:
                target = elements.concatenate(_packed(port.container_address), _port(port.container_port))
            messages.append(elements.add_element(self._family.number, self.table, name, key, target))
        elements.commit(self._socket, messages)
        self._forget_flows(ports)

    def withdraw(self, ports: Sequence[Published]) -> None:
        """Close the ports; those that are not open are none of our worry."""
        messages = []
        for port in ports:
            name, key = self._key(port)
            messages.append(elements.delete_element(self._family.number, self.table, name, key))
        elements.commit(self._socket, messages, tolerate=(errno.ENOENT,))
        self._forget_flows(ports)

    def add_bridge(self, bridge: BridgeRules) -> None:
        """Add a network's rules."""
        self._apply(ruleset.add_bridge(self._family, self.table, bridge))

    def remove_bridge(self, bridge: BridgeRules) -> None:
        """Remove a network's rules, which must be as they were added."""
        self._apply(ruleset.remove_bridge(self._family, self.table, bridge))

    def remove(self) -> None:
        """Remove the table."""
        self._apply(ruleset.remove(self._family, self.table))

    def close(self) -> None:
        """Close the socket; the table stays."""
        self._socket.close()

    def _apply(self, commands: str) -> None:
        with Nftables() as nftables:
            nftables.apply(commands)

    def _key(self, port: Published) -> tuple[str, bytes]:
        if not port.host_port:
            protocol = bytes((PROTOCOLS[port.protocol],))
            address = _packed(port.container_address)
            return ruleset.OPEN, elements.concatenate(address, protocol, _port(port.container_port))
        fields = (bytes((PROTOCOLS[port.protocol],)), _port(port.host_port))
        if port.host_address == self._family.any_address:
            return ruleset.PUBLISHED_ANY, elements.concatenate(*fields)
        return ruleset.PUBLISHED_AT, elements.concatenate(_packed(port.host_address), *fields)

    def _forget_flows(self, ports: Iterable[Published]) -> None:
        """UDP peers that kept sending before the change would stay with the old answer."""
        for port in ports:
            if port.protocol != "udp" or not port.host_port:
                continue
            specific = port.host_address != self._family.any_address
            packed = _packed(port.host_address) if specific else b""
            try:
                conntrack.forget(self._socket, self._family.number, PROTOCOLS["udp"], port.host_port, packed)
            except OSError as error:  # no conntrack netlink, or Linux before 5.8: only slower to notice
                log.debug("udp flows not forgotten", extra={"port": port.host_port, "errno": error.errno})


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big")
