"""Networks and endpoints as documents of the Engine API (`corten.types`)."""

from __future__ import annotations

from collections.abc import Iterable

from corten.network.publisher import is_routed
from corten.network.values import Endpoint, Network, Subnet
from corten.types import network as documents
from corten.types.container import PortBinding
from corten.units import format_time


def network_document(network: Network, endpoints: Iterable[Endpoint] = ()) -> documents.Network:
    """Answer of GET /networks/{id}; `endpoints` are its Containers (the list of networks shows none)."""
    return documents.Network(
        name=network.name,
        id=network.id,
        created=format_time(network.created_ns),
        scope=network.scope,
        driver=network.driver,
        enable_ipv4=network.ipv4,
        enable_ipv6=network.ipv6,
        ipam=documents.IPAM(
            driver=network.ipam_driver or "default",
            options=None if network.ipam_options is None else dict(network.ipam_options),
            config=[_ipam_config(each) for each in network.subnets] or None,
        ),
        internal=network.internal,
        attachable=network.attachable,
        ingress=False,
        config_from=documents.ConfigReference(network=network.config_from),
        config_only=network.config_only,
        containers={each.container_id: _network_container(each) for each in endpoints},
        options=dict(network.options),
        labels=dict(network.labels),
        peers=_peers(network),
    )


def _peers(network: Network) -> list[documents.PeerInfo] | None:
    """The engines that the network is on, ourselves first; they have no names."""
    if network.overlay is None:
        return None
    return [
        documents.PeerInfo(name=each, ip=each) for each in (network.overlay.local, *network.overlay.peers)
    ]


def endpoint_settings(endpoint: Endpoint) -> documents.EndpointSettings:
    """An entry of NetworkSettings.Networks of a running container."""
    return documents.EndpointSettings(
        mac_address=endpoint.mac,
        network_id=endpoint.network_id,
        endpoint_id=endpoint.id,
        gateway=endpoint.gateway,
        ip_address=endpoint.ipv4,
        ip_prefix_len=endpoint.prefix_length if endpoint.ipv4 else 0,
        ipv6_gateway=endpoint.gateway6,
        global_ipv6_address=endpoint.ipv6,
        global_ipv6_prefix_len=endpoint.prefix_length6 if endpoint.ipv6 else 0,
        gw_priority=endpoint.gw_priority,
        dns_names=list(endpoint.dns_names) or None,
    )


def port_map(
    endpoints: Iterable[Endpoint], exposed: Iterable[str] = ()
) -> dict[str, list[PortBinding] | None]:
    """NetworkSettings.Ports: the host's addresses by "80/tcp"; None for what is only exposed."""
    ports: dict[str, list[PortBinding] | None] = dict.fromkeys(exposed)
    for endpoint in endpoints:
        for binding in endpoint.ports:
            key = f"{binding.container_port}/{binding.protocol}"
            if is_routed(endpoint, binding):  # no port of the host's
                ports.setdefault(key, None)
                continue
            hosts = ports.get(key) or []
            hosts.append(PortBinding(host_ip=binding.host_address, host_port=str(binding.host_port)))
            ports[key] = hosts
    return ports


def _ipam_config(subnet: Subnet) -> documents.IPAMConfig:
    return documents.IPAMConfig(
        subnet=str(subnet.subnet),
        ip_range=str(subnet.ip_range) if subnet.ip_range else "",
        gateway="" if subnet.implied else subnet.gateway,
        auxiliary_addresses=dict(subnet.auxiliary) or None,
    )


def _network_container(endpoint: Endpoint) -> documents.NetworkContainer:
    return documents.NetworkContainer(
        name=endpoint.name,
        endpoint_id=endpoint.id,
        mac_address=endpoint.mac,
        ipv4_address=f"{endpoint.ipv4}/{endpoint.prefix_length}" if endpoint.ipv4 else "",
        ipv6_address=f"{endpoint.ipv6}/{endpoint.prefix_length6}" if endpoint.ipv6 else "",
    )
