"""Networks, endpoints and port bindings in the ledger.

::

    networks ◄── endpoints ◄── port_bindings        network_facts: key, value
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from ipaddress import ip_network
from typing import Any, Protocol

from corten.network.values import Endpoint, Network, Overlay, PortBinding, Subnet

_Value = str | int | None
_COLUMNS = ("id", "name", "driver", "created_ns", "subnets")


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
            "SELECT endpoint_id, protocol, container_port, host_address, host_port, mode FROM port_bindings"
        ).fetchall():
            binding = PortBinding(
                protocol=row[1], container_port=row[2], host_address=row[3], host_port=row[4], mode=row[5]
            )
            ports.setdefault(row[0], []).append(binding)
        found = []
        for row in self._ledger.execute(
            "SELECT id, network_id, container_id, name, host_ifname, mac, ipv4, ipv6, ifname, gw_priority,"
            " dns_names, egress FROM endpoints ORDER BY rowid"
        ).fetchall():
            network = networks[row[1]]
            four, six = network.subnet_with(row[6]), network.subnet_with(row[7])
            found.append(
                Endpoint(
                    id=row[0],
                    network_id=row[1],
                    network_name=network.name,
                    container_id=row[2],
                    name=row[3],
                    host_ifname=row[4],
                    mac=row[5],
                    ipv4=row[6],
                    prefix_length=four.subnet.prefixlen if four else 0,
                    gateway=network.gateway_in(four),
                    ipv6=row[7],
                    prefix_length6=six.subnet.prefixlen if six else 0,
                    gateway6=network.gateway_in(six),
                    ifname=row[8],
                    gw_priority=row[9],
                    dns_names=tuple(row[10].split()),
                    egress=row[11],
                    ports=tuple(ports.get(row[0], ())),
                )
            )
        return found

    def remove_network(self, network_id: str) -> None:
        """Remove a network that has no endpoints."""
        self._ledger.execute("DELETE FROM networks WHERE id = ?", (network_id,))

    def add_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Add endpoints and their ports, together."""
        if len(endpoints) == 1 and not endpoints[0].ports:
            self._insert(endpoints[0])
            return
        with self._ledger.transaction():
            for endpoint in endpoints:
                self._insert(endpoint)
                self._insert_ports(endpoint)

    def move_ports(self, endpoints: Sequence[Endpoint]) -> None:
        """What of the ports these endpoints, all of one container, have now."""
        with self._ledger.transaction():
            for endpoint in endpoints:
                self._ledger.execute("DELETE FROM port_bindings WHERE endpoint_id = ?", (endpoint.id,))
            for endpoint in endpoints:
                self._insert_ports(endpoint)

    def _insert_ports(self, endpoint: Endpoint) -> None:
        for port in endpoint.ports:
            self._ledger.execute(
                "INSERT INTO port_bindings (endpoint_id, protocol, host_address, host_port, container_port,"
                " mode) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    endpoint.id,
                    port.protocol,
                    port.host_address,
                    port.host_port,
                    port.container_port,
                    port.mode,
                ),
            )

    def _insert(self, endpoint: Endpoint) -> None:
        self._ledger.execute(
            "INSERT INTO endpoints (id, network_id, container_id, name, host_ifname, mac, ipv4, ipv6, ifname,"
            " gw_priority, dns_names, egress) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                endpoint.id,
                endpoint.network_id,
                endpoint.container_id,
                endpoint.name,
                endpoint.host_ifname,
                endpoint.mac,
                endpoint.ipv4,
                endpoint.ipv6,
                endpoint.ifname,
                endpoint.gw_priority,
                " ".join(endpoint.dns_names),
                endpoint.egress,
            ),
        )

    def set_dns_names(self, endpoint_id: str, names: Sequence[str]) -> None:
        """Record what the endpoint may be called."""
        self._ledger.execute(
            "UPDATE endpoints SET dns_names = ? WHERE id = ?", (" ".join(names), endpoint_id)
        )

    def remove_endpoints(self, container_id: str) -> None:
        """Remove a container's endpoints and their ports."""
        self._ledger.execute("DELETE FROM endpoints WHERE container_id = ?", (container_id,))

    def remove_endpoint(self, endpoint_id: str) -> None:
        """Remove one endpoint and its ports."""
        self._ledger.execute("DELETE FROM endpoints WHERE id = ?", (endpoint_id,))

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
    fields = {
        each.name: getattr(network, each.name)
        for each in dataclasses.fields(network)
        if each.name not in _COLUMNS
    }
    fields["subnets"] = [
        {
            "subnet": str(each.subnet),
            "gateway": each.gateway,
            "ip_range": str(each.ip_range) if each.ip_range else None,
            "auxiliary": dict(each.auxiliary),
            "chosen": each.chosen,
            "implied": each.implied,
        }
        for each in network.subnets
    ]
    if network.overlay is not None:
        fields["overlay"] = dataclasses.asdict(network.overlay)
    return json.dumps(fields, default=dict)


def _network(row: Any) -> Network:
    document = json.loads(row[4])
    subnets = tuple(
        Subnet(
            **{
                **each,
                "subnet": ip_network(each["subnet"]),
                "ip_range": ip_network(each["ip_range"]) if each["ip_range"] else None,
            }
        )
        for each in document.pop("subnets")
    )
    if (overlay := document.get("overlay")) is not None:
        document["overlay"] = Overlay(**{**overlay, "peers": tuple(overlay["peers"])})
    return Network(id=row[0], name=row[1], driver=row[2], created_ns=row[3], subnets=subnets, **document)
