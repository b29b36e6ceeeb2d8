"""What plugins may hold for us: a row before they are asked, gone when they have been told to forget it.

A row that outlives what it was for (the engine was killed, the plugin was away) is released later.
An address that a plugin chose and told nobody but a dead engine stays with the plugin: its protocol knows no
question for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from corten.network.store import Ledger
from corten.network.values import Plugged, StaticRoute


@dataclass(slots=True, kw_only=True)
class Claim:
    """What is held for a network, or for an endpoint of one (then `owner` is the container's id).

    driver, ipam: names of the plugins, "" where we do it ourselves. pools: their ids by IP version;
    addresses: (pool's id, address).
    """

    id: str
    network_id: str
    owner: str = ""
    driver: str = ""
    ipam: str = ""
    pools: dict[str, list[str]] = field(default_factory=dict)
    addresses: list[tuple[str, str]] = field(default_factory=list)
    plugged: Plugged | None = None

    @property
    def is_endpoint(self) -> bool:
        """Whether it is for an endpoint, and not for a network."""
        return bool(self.owner)


class Claims:
    """The rows. Belongs to the ledger's thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def all(self) -> Iterator[Claim]:
        """Every claim, oldest first."""
        for row in self._ledger.execute("SELECT document FROM network_claims ORDER BY rowid").fetchall():
            yield _claim(json.loads(row[0]))

    def of_network(self, network_id: str) -> Claim | None:
        """What is held for a network itself."""
        return next((each for each in self.all() if each.id == network_id), None)

    def put(self, claim: Claim) -> None:
        """Note what is about to be asked for, or what has come of it."""
        self._ledger.execute(
            "INSERT INTO network_claims (id, document) VALUES (?, ?)"
            " ON CONFLICT (id) DO UPDATE SET document = excluded.document",
            (claim.id, json.dumps(asdict(claim))),
        )

    def remove(self, claim_id: str) -> None:
        """Nothing is held any more."""
        self._ledger.execute("DELETE FROM network_claims WHERE id = ?", (claim_id,))


def _claim(document: dict[str, Any]) -> Claim:
    plugged = document.pop("plugged")
    if plugged is not None:
        plugged["routes"] = tuple(StaticRoute(**each) for each in plugged["routes"])
        document["plugged"] = Plugged(**plugged)
    document["addresses"] = [(pool, address) for pool, address in document["addresses"]]
    return Claim(**document)
