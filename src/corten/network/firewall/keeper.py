"""Keeps the tables in the kernel, whatever others do there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from corten.errors import Unavailable
from corten.linux.netlink.events import TableWatch
from corten.linux.netlink.nftables import Nftables
from corten.network.config import NetworkConfig
from corten.network.firewall import ruleset
from corten.network.firewall.passage import Passage
from corten.network.firewall.ruleset import IPV4, IPV6, BridgeRules, Published
from corten.network.firewall.table import Firewall
from corten.network.forwarding import ensure_forwarding
from corten.network.store import NetworkStore

log = logging.getLogger(__name__)

Rules = Mapping[int, BridgeRules]
"""A network's rules by IP version."""
Contents = Callable[[], tuple[list[Rules], list[Published]]]

_FAMILIES = {4: IPV4, 6: IPV6}


class FirewallKeeper:
    """Owner of a `Firewall` for each IP version in use, and of what they need of the machine.

    contents: tells what the tables have to hold, whenever they are written.
    problems: gets what does not work here, in words for `docker info`.
    """

    def __init__(
        self, config: NetworkConfig, store: NetworkStore, contents: Contents, problems: list[str]
    ) -> None:
        self._config = config
        self._store = store
        self._contents = contents
        self._problems = problems
        self._firewalls: dict[int, Firewall] = {}
        self._passage = Passage(config.table)
        self._told: list[str] = []
        self._watch: TableWatch | None = None
        self._why_not = "the bridge network is not set up"
        self._guards: dict[int, bool] = {}
        self._others: list[Callable[[], None]] = []

    def restore(self) -> None:
        """Switch forwarding on and write the tables. What fails is noted in `problems`."""
        if not self._config.firewall:
            self._why_not = "iptables is switched off in daemon.json"
            return
        try:
            self._watch = TableWatch()
            self._open(4)
            self._write()
            self._make_way()
        except OSError as error:
            self.close()
            self._why_not = str(error)
            self._problems.append(f"no firewall, no published ports, no masquerading: {error}")

    def _open(self, version: int) -> None:
        """Have a table for an IP version, too; `_write` fills it."""
        if version in self._firewalls or self._watch is None:
            return
        because_of_us = self._forwards_because_of_us(version)
        self._guards[version] = because_of_us and not self._config.ip_forward_no_drop
        self._firewalls[version] = Firewall(self._config.table, _FAMILIES[version])
        self._watch.add(_FAMILIES[version].number, self._config.table)

    @property
    def works(self) -> bool:
        """Whether there are tables of ours here."""
        return bool(self._firewalls)

    def require(self, purpose: str = "publish ports") -> None:
        """Raises Unavailable if rules of ours have no effect here."""
        if not self._firewalls:
            raise Unavailable(f"cannot {purpose}: {self._why_not}")

    def on_lost(self, write: Callable[[], None]) -> None:
        """Call `write`, too, when a table that is watched was removed by somebody. It may raise OSError."""
        self._others.append(write)

    def watch(self, family: int, table: str, *, wanted: bool) -> None:
        """Watch a further table of ours, or no more."""
        if self._watch is not None:
            (self._watch.add if wanted else self._watch.discard)(family, table)

    def add_network(self, rules: Rules) -> None:
        """Add the rules of a network that is in the contents already. Raises OSError."""
        if not self._firewalls:
            return
        if rules.keys() - self._firewalls.keys():  # the first one of its IP version
            self._write()
        else:
            try:
                for version, each in rules.items():
                    self._firewalls[version].add_bridge(each)
            except FileNotFoundError:  # the table is gone and `check` has not been called yet
                self._write()
        self._make_way()

    def remove_network(self, rules: Rules) -> None:
        """Remove a network's rules. Raises OSError."""
        for version, each in rules.items():
            if version in self._firewalls:
                try:
                    self._firewalls[version].remove_bridge(each)
                except FileNotFoundError:
                    self._write()
        self._make_way()

    def publish(self, ports: Sequence[Published]) -> None:
        """Open ports that are in the contents already. Raises OSError."""
        for version, some in _by_version(ports):
            if version not in self._firewalls:
                continue
            try:
                self._firewalls[version].publish(some)
            except FileNotFoundError:  # the table is gone and `check` has not been called yet
                self._write()

    def withdraw(self, ports: Sequence[Published]) -> None:
        """Close ports. Raises OSError."""
        for version, some in _by_version(ports):
            if version in self._firewalls:
                self._firewalls[version].withdraw(some)

    @property
    def events(self) -> int | None:
        """A descriptor for the event loop; when it is readable, call `check`."""
        return self._watch.fileno() if self._watch is not None else None

    def check(self) -> None:
        """Write the tables again if somebody has removed them (`nft flush ruleset`, a firewall's restart).

        Without them published ports are dead, and what must not be reachable is not protected.
        """
        if self._watch is None:
            return
        try:
            if self._watch.is_lost():
                log.warning(
                    "firewall table was removed; writing it again", extra={"table": self._config.table}
                )
                self._write()
                for write in self._others:
                    write()
            self._make_way()
        except OSError as error:
            log.error("the firewall rules are lost and cannot be written", extra={"reason": str(error)})

    def remove(self) -> None:
        """Remove the tables, for good. Raises OSError."""
        for firewall in self._firewalls.values():
            firewall.remove()
        self._passage.remove()
        if self._firewalls:
            with Nftables() as nftables:
                nftables.apply(ruleset.remove_user_table(self._config.table))
        self.close()

    def close(self) -> None:
        """Close the sockets; the tables stay."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        for firewall in self._firewalls.values():
            firewall.close()
        self._firewalls.clear()

    def _write(self) -> None:
        networks, ports = self._contents()
        if any(6 in rules for rules in networks):
            self._open(6)
        with Nftables() as nftables:
            nftables.apply(ruleset.user_table(self._config.table))
        for version, firewall in self._firewalls.items():
            firewall.replace(
                [rules[version] for rules in networks if version in rules],
                [port for port in ports if _version(port) == version],
                guard_forwarding=self._guards[version],
            )

    def _forwards_because_of_us(self, version: int) -> bool:
        if not self._config.ip_forward:
            return False
        try:
            return ensure_forwarding(self._store, version)
        except OSError as error:
            self._problems.append(f"IPv{version} forwarding is disabled and cannot be switched on: {error}")
            return False

    def _make_way(self) -> None:
        """Through the chains of others."""
        if not self._firewalls:
            return
        networks, _ = self._contents()
        closed = self._passage.update(each.bridge for rules in networks for each in rules.values())
        for text in self._told:
            self._problems.remove(text)
        self._told = [
            f"the firewall chain {chain} drops forwarded packets, and cannot be changed: containers reach"
            f" nobody outside, nor the other way round, until it accepts those of {self._config.bridge}"
            for chain in closed
        ]
        self._problems += self._told


def _version(port: Published) -> int:
    return 6 if ":" in port.container_address else 4


def _by_version(ports: Iterable[Published]) -> list[tuple[int, list[Published]]]:
    versions: dict[int, list[Published]] = {}
    for port in ports:
        versions.setdefault(_version(port), []).append(port)
    return list(versions.items())
