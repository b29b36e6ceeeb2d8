"""Port specifications of EXPOSE: `80`, `53/udp`, `8000-8010/tcp`, `8080:80`."""

from __future__ import annotations

from corten.errors import InvalidParameter

_PROTOCOLS = ("tcp", "udp", "sctp")
_MAX_PORTS = 65536


def exposed_ports(specification: str) -> list[str]:
    """The ports as `number/protocol`; what is before a colon belongs to publishing and is ignored.

    Raises InvalidParameter with the texts of Docker's nat package.

    >>> exposed_ports("8000-8001/UDP")
    ['8000/udp', '8001/udp']
    """
    ports, _, protocol = specification.partition("/")
    container = ports.rpartition(":")[2]
    protocol = (protocol or "tcp").lower()
    if not container:
        raise InvalidParameter(f"No port specified: {specification}<empty>")
    first, dash, last = container.partition("-")
    if not (_is_port(first) and (_is_port(last) or not dash)):
        raise InvalidParameter(f"Invalid containerPort: {container}")
    if protocol not in _PROTOCOLS:
        raise InvalidParameter(f"Invalid proto: {protocol}")
    end = int(last or first)
    if end < int(first):
        raise InvalidParameter(f"Invalid containerPort: {container}")
    return [f"{port}/{protocol}" for port in range(int(first), end + 1)]


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text[:6]) < _MAX_PORTS
