"""The three networks that are always there."""

from __future__ import annotations

import time

from corten.ids import new_id
from corten.network.store import NetworkStore
from corten.network.values import BRIDGE, HOST, NULL, Network

_PREDEFINED = {"bridge": BRIDGE, "host": HOST, "none": NULL}  # name -> driver


def is_predefined(name: str) -> bool:
    """Whether the name is one of Docker's own networks."""
    return name in _PREDEFINED


def ensure_predefined(store: NetworkStore) -> list[Network]:
    """All networks of the ledger, among them "bridge", "host" and "none", whose ids never change."""
    networks = store.networks()
    known = {each.name for each in networks}
    for name, driver in _PREDEFINED.items():
        if name not in known:
            network = Network(id=new_id(), name=name, driver=driver, created_ns=time.time_ns())
            store.put_network(network)
            networks.append(network)
    return networks
