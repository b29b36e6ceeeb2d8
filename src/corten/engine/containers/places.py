"""What a container asks of its networks: its record's endpoints as `Place`s."""

from __future__ import annotations

import re
from ipaddress import ip_address

from corten.engine.containers.container import Container
from corten.engine.containers.record import ContainerRecord
from corten.errors import InvalidParameter
from corten.network.addresses import hardware_address
from corten.network.egress.policy import OPTION, parse
from corten.network.predefined import is_predefined
from corten.network.values import Place
from corten.types.container import ContainerConfig
from corten.types.network import EndpointSettings

_SYSCTLS = "com.docker.network.endpoint.sysctls"
_IFNAME = "com.docker.network.endpoint.ifname"
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.(conf|neigh|route)\.(?i:IFNAME)\.[A-Za-z0-9_]+=[^\0\n]{0,64}")
_LINK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_DNS_NAME = re.compile(r"[^\s\0]{1,253}")


def wishes(record: ContainerRecord) -> dict[str, EndpointSettings]:
    """The networks that the container is on while it runs, by the name or id that it was given."""
    if record.endpoints or record.networkless:
        return record.endpoints
    return {record.host_config.network_mode: EndpointSettings()}


def places(container: Container) -> list[Place]:
    """One for each of its networks, the default one first. Raises InvalidParameter."""
    record = container.record
    found = []
    for ref, settings in wishes(record).items():
        first = ref == record.host_config.network_mode
        found.append(place(container, ref, settings, mac=record.config.mac_address if first else ""))
    return found


def place(container: Container, ref: str, settings: EndpointSettings, *, mac: str = "") -> Place:
    """What is asked of one network. mac: where the settings name none."""
    asked = settings.ipam_config
    options = settings.driver_opts or {}
    check_settings(ref, settings)
    return Place(
        network=ref,
        ipv4=asked.ipv4_address if asked else "",
        ipv6=asked.ipv6_address if asked else "",
        mac=settings.mac_address or mac,
        ifname=options.get(_IFNAME, ""),
        gw_priority=settings.gw_priority,
        link_local=tuple((asked.link_local_ips if asked else None) or ()),
        dns_names=dns_names(container, settings) if not is_predefined(ref) else (),
        egress=egress_of(container.record.config),
        options=options,
        sysctls=tuple(each for each in options.get(_SYSCTLS, "").split(",") if each),
    )


def egress_of(config: ContainerConfig) -> str:
    """The policy in the container's label; "" without. Raises InvalidParameter."""
    text = (config.labels or {}).get(OPTION, "")
    return parse(text).text if text else ""


def check_settings(ref: str, settings: EndpointSettings) -> None:
    """What can be judged without the network. Raises InvalidParameter."""
    problems = []
    asked, options = settings.ipam_config, settings.driver_opts or {}
    if settings.aliases and is_predefined(ref):
        problems.append("network-scoped aliases are only supported for user-defined networks")
    problems += [
        f"invalid link-local IP address: {each}"
        for each in (asked.link_local_ips if asked else None) or ()
        if not _is_link_local(each)
    ]
    problems += [
        f"invalid alias {each!r}" for each in settings.aliases or () if not _DNS_NAME.fullmatch(each)
    ]
    for each in options.get(_SYSCTLS, "").split(","):
        if each and not _SYSCTL.fullmatch(each):
            problems.append(f"invalid sysctl {each!r} in {_SYSCTLS}")
    if settings.mac_address:
        hardware_address(settings.mac_address)
    if _IFNAME in options and not _LINK_NAME.fullmatch(options[_IFNAME]):
        problems.append(f"invalid interface name {options[_IFNAME]!r}")
    if problems:
        texts = problems if len(problems) == 1 else [f"* {each}" for each in problems]
        raise InvalidParameter(
            f"invalid config for network {ref}: invalid endpoint settings:\n" + "\n".join(texts)
        )


def _is_link_local(text: str) -> bool:
    try:
        return ip_address(text).is_link_local
    except ValueError:
        return False


def dns_names(container: Container, settings: EndpointSettings) -> tuple[str, ...]:
    """What others may call it: its name, its aliases, its short id and its host name, each once."""
    config = container.record.config
    names = [container.name, *(settings.aliases or ()), container.id[:12]]
    if config.hostname:
        names.append(f"{config.hostname}.{config.domainname}" if config.domainname else config.hostname)
    return tuple(dict.fromkeys(names))
