"""What of a create request is about the network: as in `validate`, Docker's checks with Docker's texts."""

from __future__ import annotations

from ipaddress import ip_address

from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.places import egress_of
from corten.errors import InvalidParameter
from corten.network.addresses import hardware_address
from corten.network.egress.policy import OPTION
from corten.network.hosts import parse_extra_hosts
from corten.network.portspec import PUBLISH_MODE, parse_port, port_requests, publish_modes
from corten.types.container import ContainerConfig, HostConfig

_ANY_GATEWAY = "0.0.0.0"  # noqa: S104 - stands for the host's address, which only the start knows


def validate_network(config: ContainerConfig, host_config: HostConfig, warnings: list[str]) -> None:
    """Raises InvalidParameter."""
    mode, bindings = host_config.network_mode, host_config.port_bindings or {}
    if mode == "container:":
        raise InvalidParameter("Invalid network mode: invalid container format container:<name|id>")
    parse_extra_hosts(host_config.extra_hosts or (), _ANY_GATEWAY)
    for server in host_config.dns or ():
        if not _is_address(server):
            raise InvalidParameter(f"{server} is not an ip address")
    for word in (*(host_config.dns_search or ()), *(host_config.dns_options or ())):
        if not is_word(word):
            raise InvalidParameter(f"{word!r} is not a valid domain or option")
    port_requests(bindings)
    for port in config.exposed_ports or ():
        parse_port(port)
    publish_modes((config.labels or {}).get(PUBLISH_MODE, ""))
    if config.mac_address:
        hardware_address(config.mac_address)
    _conflicts(config, host_config)
    if mode == "host" and bindings:
        warnings.append("Published ports are discarded when using host network mode")


def _conflicts(config: ContainerConfig, host_config: HostConfig) -> None:
    mode, bindings = host_config.network_mode, host_config.port_bindings
    shared = container_mode(mode)
    if host_config.links and (mode == "host" or shared):
        kind = "host type networking" if mode == "host" else "container type network"
        raise InvalidParameter(
            f"conflicting options: {kind} can't be used with links. This would result in undefined behavior"
        )
    if egress_of(config) and (mode == "host" or shared):
        kind = mode.partition(":")[0]
        raise InvalidParameter(f"conflicting options: label {OPTION} and the {kind} network mode")
    if not shared:
        return
    conflicts = (
        (config.hostname, "hostname and the network mode"),
        (host_config.dns, "dns and the network mode"),
        (host_config.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (config.mac_address, "mac-address and the network mode"),
        (bindings or host_config.publish_all_ports, "port publishing and the container type network mode"),
        (config.exposed_ports, "port exposing and the container type network mode"),
    )
    for given, text in conflicts:
        if given:
            raise InvalidParameter(f"conflicting options: {text}")


def is_word(text: str) -> bool:
    """Whether the text stays one word of one line in /etc/hosts and resolv.conf ("" does)."""
    return text.isprintable() and not any(character.isspace() for character in text)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return is_word(text)
