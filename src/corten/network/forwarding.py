"""IP forwarding: without it no packet leaves a bridge."""

from __future__ import annotations

import os
from contextlib import suppress

from corten.linux.netlink import sysctl
from corten.network.store import NetworkStore

_SWITCHES = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}
_FACTS = {4: "ip_forward switched on in boot", 6: "IPv6 forwarding switched on in boot"}

_UNLESS_FORWARDING, _ALWAYS = "1", "2"  # values of accept_ra


def ensure_forwarding(store: NetworkStore, version: int = 4) -> bool:
    """Switch forwarding on if it is off. Returns whether it is on because of us. Raises OSError.

    Noted in the ledger first: after a restart of the engine nobody else could tell, and the firewall
    keeps a machine that routes only because of us from routing for strangers.
    """
    boot = sysctl.boot_id()
    if sysctl.read(_SWITCHES[version]) == "0":
        store.remember(_FACTS[version], boot)
        if version == 6:
            _keep_routers()
        sysctl.write(_SWITCHES[version], "1")
    return store.fact(_FACTS[version]) == boot


def _keep_routers() -> None:
    """Let links that listen to router advertisements go on doing so: one that forwards needs to be told.

    Else the host would lose its default route. Our own bridges listen to nobody (`bridge.ensure`).
    """
    for link in os.listdir("/proc/sys/net/ipv6/conf"):
        if link in ("all", "default", "lo"):
            continue
        with suppress(FileNotFoundError):  # it has just gone
            if sysctl.read(f"ipv6/conf/{link}/accept_ra") == _UNLESS_FORWARDING:
                sysctl.write(f"ipv6/conf/{link}/accept_ra", _ALWAYS)
