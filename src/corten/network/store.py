"""Networks, endpoints and port bindings in the ledger.

::

    networks ◄── endpoints ◄── port_bindings        network_facts: key, value
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from ipaddress import IPv4Network
from typing import Any, Protocol

from corten.network.values import Endpoint, Network, PortBinding, Subnet

_Value = str | int | None


class Rows(Protocol):
    """What a statement returns (sqlite3.Cursor)."""

    def fetchall(self) -> list[Any]:
        """All rows, each indexable by column number."""


class Ledger(Protocol):
    """What the store needs of `corten.metadata.ledger.Ledger`: foreign keys on."""

    def execute(self, sql: str, params: Sequence[_Value] = ...) -> Rows:
        """Run one statement; outside of a transaction it is committed at once."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit everything inside together, or nothing."""


class NetworkStore:
    """The package's rows. Belongs to the ledger's thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def networks(self) -> list[Network]:
        """All networks, oldest first."""
        sql = "SELECT id, name, driver, created_ns, document FROM networks ORDER BY created_ns, rowid"
        return [_network(row) for row in self._ledger.execute(sql).fetchall()]

    def put_network(self, network: Network) -> None:
        """Add a network, or change what is stored of it."""
        self._ledger.execute(
            "INSERT INTO networks (id, name, driver, created_ns, document) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET document = excluded.document",
            (network.id, network.name, network.driver, network.created_ns, _document(network)),
        )

    def endpoints(self, networks: Mapping[str, Network]) -> list[Endpoint]:
        """All endpoints of `networks` (by id) with their ports, in the order of their making."""
        ports: dict[str, list[PortBinding]] = {}
        for row in self._ledger.execute(
            "SELECT endpoint_id, protocol, container_port, host_address, host_port FROM port_bindings"
        ).fetchall():
            binding = PortBinding(
                protocol=row[1], container_port=row[2], host_address=row[3], host_port=row[4]
            )
            ports.setdefault(row[0], []).append(binding)
        found = []
        for row in self._ledger.execute(
            "SELECT id, network_id, container_id, name, host_ifname, mac, ipv4 FROM endpoints ORDER BY rowid"
        ).fetchall():
            subnets = networks[row[1]].subnets
            found.append(
                Endpoint(
                    id=row[0],
                    network_id=row[1],
                    network_name=networks[row[1]].name,
                    container_id=row[2],
                    name=row[3],
                    host_ifname=row[4],
                    mac=row[5],
                    ipv4=row[6],
                    prefix_length=subnets[0].subnet.prefixlen if subnets else 0,
                    gateway=subnets[0].gateway if subnets else "",
                    ports=tuple(ports.get(row[0], ())),
                )
            )
        return found

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Add an endpoint and its ports, together."""
        if not endpoint.ports:
            self._insert(endpoint)
            return
        with self._ledger.transaction():
            self._insert(endpoint)
            for port in endpoint.ports:
                self._ledger.execute(
                    "INSERT INTO port_bindings"
                    " (endpoint_id, protocol, host_address, host_port, container_port)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (endpoint.id, port.protocol, port.host_address, port.host_port, port.container_port),
                )

    def _insert(self, endpoint: Endpoint) -> None:
        self._ledger.execute(
            "INSERT INTO endpoints (id, network_id, container_id, name, host_ifname, mac, ipv4)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                endpoint.id,
                endpoint.network_id,
                endpoint.container_id,
                endpoint.name,
                endpoint.host_ifname,
                endpoint.mac,
                endpoint.ipv4,
            ),
        )

    def set_host_ifname(self, endpoint_id: str, host_ifname: str) -> None:
        """Record the host end of the endpoint's veth."""
        self._ledger.execute("UPDATE endpoints SET host_ifname = ? WHERE id = ?", (host_ifname, endpoint_id))

    def remove_endpoints(self, container_id: str) -> None:
        """Remove a container's endpoints and their ports."""
        self._ledger.execute("DELETE FROM endpoints WHERE container_id = ?", (container_id,))

    def rename_container(self, container_id: str, name: str) -> None:
        """Show the container's endpoints under its new name."""
        self._ledger.execute("UPDATE endpoints SET name = ? WHERE container_id = ?", (name, container_id))

    def fact(self, key: str) -> str:
        """What was remembered under `key`, or ""."""
        rows = self._ledger.execute("SELECT value FROM network_facts WHERE key = ?", (key,)).fetchall()
        return str(rows[0][0]) if rows else ""

    def remember(self, key: str, value: str) -> None:
        """Remember a fact; "" forgets it."""
        if value:
            self._ledger.execute(
                "INSERT INTO network_facts VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )
        else:
            self._ledger.execute("DELETE FROM network_facts WHERE key = ?", (key,))


def _document(network: Network) -> str:
    return json.dumps(
        {
            "subnets": [
                {
                    "subnet": str(each.subnet),
                    "gateway": each.gateway,
                    "ip_range": str(each.ip_range) if each.ip_range else None,
                }
                for each in network.subnets
            ],
            "bridge": network.bridge,
            "mtu": network.mtu,
            "icc": network.icc,
            "masquerade": network.masquerade,
            "host_address": network.host_address,
            "options": dict(network.options),
            "labels": dict(network.labels),
        }
    )


def _network(row: Any) -> Network:
    document = json.loads(row[4])
    subnets = tuple(
        Subnet(
            subnet=IPv4Network(each["subnet"]),
            gateway=each["gateway"],
            ip_range=IPv4Network(each["ip_range"]) if each["ip_range"] else None,
        )
        for each in document.pop("subnets")
    )
    return Network(id=row[0], name=row[1], driver=row[2], created_ns=row[3], subnets=subnets, **document)
