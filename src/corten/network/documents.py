"""Networks and endpoints as documents of the Engine API (`corten.types`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corten.network.values import Endpoint, Network, Subnet
from corten.types import network as documents
from corten.types.container import NetworkSettings, PortBinding
from corten.units import format_time


def network_document(network: Network, endpoints: Iterable[Endpoint] = ()) -> documents.Network:
    """Answer of GET /networks/{id}; `endpoints` are its Containers (the list of networks shows none)."""
    return documents.Network(
        name=network.name,
        id=network.id,
        created=format_time(network.created_ns),
        scope="local",
        driver=network.driver,
        enable_ipv4=True,
        enable_ipv6=False,
        ipam=documents.IPAM(config=[_ipam_config(each) for each in network.subnets] or None),
        internal=False,
        attachable=False,
        ingress=False,
        config_from=documents.ConfigReference(),
        config_only=False,
        containers={each.container_id: _network_container(each) for each in endpoints},
        options=dict(network.options),
        labels=dict(network.labels),
    )


def endpoint_settings(endpoint: Endpoint, *, dns_names: Sequence[str] = ()) -> documents.EndpointSettings:
    """An entry of NetworkSettings.Networks of a running container."""
    return documents.EndpointSettings(
        mac_address=endpoint.mac,
        network_id=endpoint.network_id,
        endpoint_id=endpoint.id,
        gateway=endpoint.gateway,
        ip_address=endpoint.ipv4,
        ip_prefix_len=endpoint.prefix_length,
        dns_names=list(dns_names) or None,
    )


def network_settings(
    endpoints: Sequence[Endpoint], *, sandbox_id: str = "", sandbox_key: str = "", exposed: Iterable[str] = ()
) -> NetworkSettings:
    """NetworkSettings of a running container. `exposed`: the keys of ExposedPorts, such as "80/tcp"."""
    settings = NetworkSettings(
        sandbox_id=sandbox_id,
        sandbox_key=sandbox_key,
        ports=port_map(endpoints, exposed),
        networks={each.network_name: endpoint_settings(each) for each in endpoints},
    )
    default = next((each for each in endpoints if each.network_name == "bridge"), None)
    if default is not None:
        settings.endpoint_id = default.id
        settings.gateway = default.gateway
        settings.ip_address = default.ipv4
        settings.ip_prefix_len = default.prefix_length
        settings.mac_address = default.mac
    return settings


def port_map(
    endpoints: Iterable[Endpoint], exposed: Iterable[str] = ()
) -> dict[str, list[PortBinding] | None]:
    """NetworkSettings.Ports: the host's addresses by "80/tcp"; None for what is only exposed."""
    ports: dict[str, list[PortBinding] | None] = dict.fromkeys(exposed)
    for endpoint in endpoints:
        for binding in endpoint.ports:
            key = f"{binding.container_port}/{binding.protocol}"
            hosts = ports.get(key) or []
            hosts.append(PortBinding(host_ip=binding.host_address, host_port=str(binding.host_port)))
            ports[key] = hosts
    return ports


def _ipam_config(subnet: Subnet) -> documents.IPAMConfig:
    return documents.IPAMConfig(
        subnet=str(subnet.subnet),
        ip_range=str(subnet.ip_range) if subnet.ip_range else "",
        gateway=subnet.gateway,
    )


def _network_container(endpoint: Endpoint) -> documents.NetworkContainer:
    return documents.NetworkContainer(
        name=endpoint.name,
        endpoint_id=endpoint.id,
        mac_address=endpoint.mac,
        ipv4_address=f"{endpoint.ipv4}/{endpoint.prefix_length}" if endpoint.ipv4 else "",
        ipv6_address="",
    )
