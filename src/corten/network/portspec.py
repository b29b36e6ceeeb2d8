"""Docker's PortBindings and ExposedPorts documents -> PortRequests.

Source: Engine API 1.51, PortMap and PortBinding; go-connections/nat for the spellings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

from corten.errors import InvalidParameter
from corten.network.values import PROTOCOLS, PUBLISH_MODES, PortRequest
from corten.types.container import PortBinding

PUBLISH_MODE = "corten.publish-mode"
"""The driver option of a network and the label of a container that say how ports are published."""

PortMap = Mapping[str, Sequence[PortBinding] | None]
_ANY = PortBinding()


def parse_port(text: str) -> tuple[int, str]:
    """ "80/tcp" or "80" -> (80, "tcp"). Raises InvalidParameter."""
    number, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidParameter(f"invalid proto: {protocol}")
    return _number(number), protocol


def port_requests(bindings: PortMap) -> tuple[PortRequest, ...]:
    """HostConfig.PortBindings -> what has to be published. Raises InvalidParameter."""
    requests: list[PortRequest] = []
    for container, hosts in bindings.items():
        port, protocol = parse_port(container)
        for host in hosts or (_ANY,):
            first, last = _host_ports(host.host_port)
            requests.append(
                PortRequest(
                    protocol=protocol,
                    container_port=port,
                    host_address=_host_address(host.host_ip),
                    first_host_port=first,
                    last_host_port=last,
                )
            )
    return tuple(requests)


def exposed_requests(exposed: Iterable[str], bindings: PortMap) -> tuple[PortRequest, ...]:
    """--publish-all: any host port for every exposed port that `bindings` does not name."""
    named = {parse_port(text) for text in bindings}
    ports = sorted({parse_port(text) for text in exposed} - named)
    return tuple(PortRequest(protocol=protocol, container_port=port) for port, protocol in ports)


def publish_modes(text: str) -> dict[str, str]:
    """A container's label: "socket" is {"": "socket"}, "socket,53/udp=nat" has an exception.

    Raises InvalidParameter.
    """
    modes: dict[str, str] = {}
    for item in filter(None, text.split(",")):
        port, equals, mode = item.rpartition("=")
        if mode not in PUBLISH_MODES:
            raise InvalidParameter(
                f"invalid label {PUBLISH_MODE}={text}: use nat or socket, or PORT/PROTO=socket"
            )
        if equals:
            number, protocol = parse_port(port)
            port = f"{number}/{protocol}"
        modes[port] = mode
    return modes


def with_modes(requests: Iterable[PortRequest], modes: Mapping[str, str]) -> tuple[PortRequest, ...]:
    """The requests with what `publish_modes` says of them."""
    default = modes.get("", "")
    return tuple(
        replace(each, mode=modes.get(f"{each.container_port}/{each.protocol}", default)) for each in requests
    )


def covers(entry: PortBinding, wanted: PortBinding) -> bool:
    """Whether an entry of PortBindings may have led to a host port: "8000-9000" to "8080"."""
    first, last = _host_ports(entry.host_port)
    low, high = _host_ports(wanted.host_port)
    return not first or first <= low <= high <= last


def _host_ports(text: str) -> tuple[int, int]:
    """ "" -> (0, 0), "8080" -> (8080, 8080), "8000-8010" -> (8000, 8010)."""
    if not text or text == "0":
        return 0, 0
    first, dash, last = text.partition("-")
    low = _number(first, text)
    high = _number(last, text) if dash else low
    if not 0 < low <= high:
        raise InvalidParameter(f"invalid port range: {text}")
    return low, high


def _number(text: str, whole: str = "") -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise InvalidParameter(f'invalid port specification: "{whole or text}"')
    return int(text)


def _host_address(text: str) -> str:
    if not text:
        return ""
    try:
        address = ip_address(text.strip("[]"))
    except ValueError as error:
        raise InvalidParameter(f"invalid IP address: {text}") from error
    return str(address)
