"""Keeps the policies in the kernel, and hears what they refuse."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address

from corten.errors import InternalError
from corten.linux.netlink import conntrack
from corten.linux.netlink.nflog import PacketLog
from corten.linux.netlink.nfnetlink import NFPROTO_BRIDGE, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from corten.linux.netlink.nftables import Nftables
from corten.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket
from corten.network.egress import ruleset
from corten.network.egress.denials import Denial, denial
from corten.network.egress.ruleset import Confined, Guarded
from corten.network.firewall.keeper import FirewallKeeper

log = logging.getLogger(__name__)

_GROUPS = (1024, 65535)  # of the packet log; the low numbers are ulogd's and the administrator's


class EgressKeeper:
    """Owner of the two tables. They are there while there is a policy.

    contents: all that is confined, whenever the tables are written as a whole.
    """

    def __init__(self, table: str, firewall: FirewallKeeper, contents: Callable[[], list[Confined]]) -> None:
        self.table = table
        self.on_rewritten: Callable[[], None] = lambda: None  # the addresses of names are gone
        self._firewall = firewall
        self._contents = contents
        self._group = _GROUPS[0] + zlib.crc32(table.encode()) % (_GROUPS[1] - _GROUPS[0])
        self._log: PacketLog | None = None
        self._made = False

    def restore(self) -> None:
        """Bring the tables in line with the ledger after a start. Raises OSError."""
        if not self._firewall.works:
            return
        self._firewall.on_lost(self._write)
        try:
            self._log = PacketLog(self._group)
        except OSError as error:
            log.warning("refused packets will not be told of", extra={"reason": str(error)})
        self._write()

    @property
    def events(self) -> int | None:
        """A descriptor for the event loop; when it is readable, there are `denials`."""
        return self._log.fileno() if self._log is not None else None

    def denials(self) -> Iterator[Denial]:
        """What has been refused since the last call; at most some 20 a second of each policy."""
        if self._log is not None:
            for key, packet in self._log.packets():
                found = denial(key, packet)
                if found is not None:
                    yield found

    def confine(self, before: Confined | None, after: Confined | None) -> None:
        """Put a policy into force, or change what it is about, or take it away.

        Raises Unavailable if that cannot be done here, InternalError.
        """
        if before == after:
            return
        if after is not None:
            self._firewall.require("confine containers")
        try:
            self._apply(self._changes(before, after))
        except OSError as error:
            raise InternalError(f"failed to set up egress control: {error}") from error
        known = before.guarded if before is not None else ()
        self._forget_flows([each for each in (after.guarded if after else ()) if each not in known])

    def _forget_flows(self, guarded: list[Guarded]) -> None:
        """Connections of who had the addresses before would pass as established."""
        for address in (address for each in guarded for address in (each.ipv4, each.ipv6) if address):
            version = NFPROTO_IPV6 if ":" in address else NFPROTO_IPV4
            try:
                with NetlinkSocket(NETLINK_NETFILTER) as sock:
                    conntrack.forget_address(sock, version, ip_address(address).packed)
            except OSError as error:  # Linux before 5.8, or without conntrack's netlink
                log.warning("connections not forgotten", extra={"address": address, "errno": error.errno})

    def _changes(self, before: Confined | None, after: Confined | None) -> str:
        commands = "" if self._made or after is None else ruleset.tables(self.table)
        if before is not None and after is None:
            commands += ruleset.release(self.table, before)
        elif before is not None and after is not None:
            gone = tuple(each for each in before.guarded if each not in after.guarded)
            if gone:
                commands += ruleset.unguard(self.table, replace(before, guarded=gone))
        if after is not None:
            commands += ruleset.confine(self.table, after, self._group)
        return commands

    def _apply(self, commands: str) -> None:
        try:
            with Nftables() as nftables:
                nftables.apply(commands)
        except OSError:
            self._write()  # the tables may be gone; written as a whole they are as the ledger has it
            return
        self._made = True
        self._watch()

    def _write(self) -> None:
        confined = self._contents()
        commands = ruleset.remove(self.table)
        if confined:
            commands += ruleset.tables(self.table)
            commands += "".join(ruleset.confine(self.table, each, self._group) for each in confined)
        with Nftables() as nftables:
            nftables.apply(commands)
        self._made = bool(confined)
        self._watch()
        self.on_rewritten()

    def _watch(self) -> None:
        for family, table in (
            (NFPROTO_INET, ruleset.egress_table(self.table)),
            (NFPROTO_BRIDGE, ruleset.guard_table(self.table)),
        ):
            self._firewall.watch(family, table, wanted=self._made)

    def remove(self) -> None:
        """Remove the tables, for good. Raises OSError."""
        if self._made:
            with Nftables() as nftables:
                nftables.apply(ruleset.remove(self.table))
        self.close()

    def close(self) -> None:
        """Hear no more; the tables stay."""
        if self._log is not None:
            self._log.close()
            self._log = None
