"""net.ipv4.ip_forward: without it no packet leaves a bridge."""

from __future__ import annotations

from corten.linux.netlink import sysctl
from corten.network.store import NetworkStore

_FACT = "ip_forward switched on in boot"


def ensure_forwarding(store: NetworkStore) -> bool:
    """Switch forwarding on if it is off. Returns whether it is on because of us. Raises OSError.

    Noted in the ledger first: after a restart of the engine nobody else could tell, and the firewall
    keeps a machine that routes only because of us from routing for strangers.
    """
    boot = sysctl.boot_id()
    if sysctl.read("ipv4/ip_forward") == "0":
        store.remember(_FACT, boot)
        sysctl.write("ipv4/ip_forward", "1")
    return store.fact(_FACT) == boot
