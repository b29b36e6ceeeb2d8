"""Keeps the table in the kernel, whatever others do there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from corten.errors import Unavailable
from corten.linux.netlink.events import TableWatch
from corten.network.config import NetworkConfig
from corten.network.firewall.ruleset import BridgeRules, Published
from corten.network.firewall.table import Firewall
from corten.network.forwarding import ensure_forwarding
from corten.network.store import NetworkStore

log = logging.getLogger(__name__)

Contents = Callable[[], tuple[list[BridgeRules], list[Published]]]


class FirewallKeeper:
    """Owner of the `Firewall` and of what it needs of the machine.

    contents: tells what the table has to hold, whenever it is written.
    problems: gets what does not work here, in words for `docker info`.
    """

    def __init__(self, config: NetworkConfig, contents: Contents, problems: list[str]) -> None:
        self._config = config
        self._contents = contents
        self._problems = problems
        self._firewall: Firewall | None = None
        self._watch: TableWatch | None = None
        self._why_not = "the bridge network is not set up"
        self._guard_forwarding = False

    def restore(self, store: NetworkStore) -> None:
        """Switch forwarding on and write the table. What fails is noted in `problems`."""
        if not self._config.firewall:
            self._why_not = "iptables is switched off in daemon.json"
            return
        self._guard_forwarding = self._forwards_because_of_us(store) and not self._config.ip_forward_no_drop
        self._firewall = Firewall(self._config.table)
        try:
            self._write()
            self._watch = self._firewall.watch()
            self._warn_of_rivals()
        except OSError as error:
            self.close()
            self._why_not = str(error)
            self._problems.append(f"no firewall, no published ports, no masquerading: {error}")

    def require(self) -> None:
        """Raises Unavailable if ports cannot be published."""
        if self._firewall is None:
            raise Unavailable(f"cannot publish ports: {self._why_not}")

    def publish(self, ports: Sequence[Published]) -> None:
        """Open ports that are in the contents already. Raises OSError."""
        if self._firewall is None or not ports:
            return
        try:
            self._firewall.publish(ports)
        except FileNotFoundError:  # the table is gone and `check` has not been called yet
            self._write()

    def withdraw(self, ports: Sequence[Published]) -> None:
        """Close ports. Raises OSError."""
        if self._firewall is not None and ports:
            self._firewall.withdraw(ports)

    @property
    def events(self) -> int | None:
        """A descriptor for the event loop; when it is readable, call `check`."""
        return self._watch.fileno() if self._watch is not None else None

    def check(self) -> None:
        """Write the table again if somebody has removed it (`nft flush ruleset`, a firewall's restart).

        Without it published ports are dead, and what must not be reachable is not protected.
        """
        if self._watch is None:
            return
        try:
            if self._watch.is_lost():
                log.warning(
                    "firewall table was removed; writing it again", extra={"table": self._config.table}
                )
                self._write()
        except OSError as error:
            log.error("the firewall rules are lost and cannot be written", extra={"reason": str(error)})

    def remove(self) -> None:
        """Remove the table, for good. Raises OSError."""
        if self._firewall is not None:
            self._firewall.remove()
        self.close()

    def close(self) -> None:
        """Close the sockets; the table stays."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._firewall is not None:
            self._firewall.close()
            self._firewall = None

    def _write(self) -> None:
        assert self._firewall is not None
        bridges, ports = self._contents()
        self._firewall.replace(bridges, ports, guard_forwarding=self._guard_forwarding)

    def _forwards_because_of_us(self, store: NetworkStore) -> bool:
        if not self._config.ip_forward:
            return False
        try:
            return ensure_forwarding(store)
        except OSError as error:
            self._problems.append(f"IPv4 forwarding is disabled and cannot be switched on: {error}")
            return False

    def _warn_of_rivals(self) -> None:
        assert self._firewall is not None
        for chain in self._firewall.rivals():
            self._problems.append(
                f"the firewall chain {chain} drops forwarded packets: containers reach nobody outside, nor"
                f" the other way round, until it accepts those from and to {self._config.bridge}"
            )
