"""The PORTS column: ports in order, neighbours joined into ranges."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def displayed(ports: list[dict[str, Any]]) -> str:
    """`0.0.0.0:8080->80/tcp, 443/tcp, [::]:9000-9002->9000-9002/tcp` as Docker orders and joins them."""
    joined: list[str] = []
    mapped: list[str] = []
    open_ranges: dict[tuple[str, str], tuple[int, int]] = {}
    for port in sorted(ports, key=_order):
        address, kind, number = port.get("IP", ""), port.get("Type", "tcp"), int(port["PrivatePort"])
        if address and port.get("PublicPort", 0) != number:
            mapped.append(f"{_host(address)}:{port.get('PublicPort', 0)}->{number}/{kind}")
            continue
        key = (address, kind)
        first, last = open_ranges.get(key, (number, number - 1))
        if number == last + 1:
            open_ranges[key] = (first, number)
        elif number != last:
            joined.append(_range(key, first, last))
            open_ranges[key] = (number, number)
    joined += [_range(key, *ends) for key, ends in open_ranges.items()]
    return ", ".join(joined + mapped)


def _order(port: dict[str, Any]) -> tuple[int, str, int, str]:
    return int(port["PrivatePort"]), port.get("IP", ""), port.get("PublicPort", 0), port.get("Type", "")


def _range(key: tuple[str, str], first: int, last: int) -> str:
    address, kind = key
    numbers = str(first) if first == last else f"{first}-{last}"
    return f"{_host(address)}:{numbers}->{numbers}/{kind}" if address else f"{numbers}/{kind}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
