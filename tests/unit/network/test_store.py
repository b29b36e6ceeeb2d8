from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from corten.metadata.ledger import Ledger
from corten.network.documents import endpoint_settings, network_document, network_settings, port_map
from corten.network.predefined import ensure_predefined
from corten.network.store import NetworkStore
from corten.network.values import Endpoint, Network, PortBinding, Subnet
from corten.types.container import PortBinding as PortBindingDocument

NETWORK = Network(
    id="a" * 64,
    name="bridge",
    driver="bridge",
    created_ns=1_700_000_000_123_456_789,
    subnets=(
        Subnet(
            subnet=IPv4Network("172.17.0.0/16"), gateway="172.17.0.1", ip_range=IPv4Network("172.17.1.0/24")
        ),
    ),
    bridge="corten0",
    mtu=1400,
    icc=False,
    masquerade=False,
    host_address="127.0.0.1",
    options={"com.docker.network.bridge.name": "corten0"},
    labels={"a": "b"},
)
WEB = PortBinding(protocol="tcp", container_port=80, host_address="0.0.0.0", host_port=8080)
ENDPOINT = Endpoint(
    id="e" * 64,
    network_id=NETWORK.id,
    network_name="bridge",
    container_id="c" * 64,
    name="web",
    mac="02:42:ac:11:00:02",
    ipv4="172.17.0.2",
    prefix_length=16,
    gateway="172.17.0.1",
    host_ifname="vc0001",
    ports=(WEB,),
)


@pytest.fixture
def store(tmp_path):
    ledger = Ledger(str(tmp_path / "meta.db"))
    yield NetworkStore(ledger)
    ledger.close()


def test_networks_and_endpoints_come_back_as_they_were(store):
    store.put_network(NETWORK)
    store.add_endpoint(ENDPOINT)
    assert store.networks() == [NETWORK]
    assert store.endpoints({NETWORK.id: NETWORK}) == [ENDPOINT]
    changed = replace(NETWORK, mtu=1280, subnets=())
    store.put_network(changed)
    assert store.networks() == [changed]


def test_changes_of_an_endpoint(store):
    store.put_network(NETWORK)
    store.add_endpoint(replace(ENDPOINT, host_ifname=""))
    store.set_host_ifname(ENDPOINT.id, "vc0002")
    store.rename_container(ENDPOINT.container_id, "renamed")
    (found,) = store.endpoints({NETWORK.id: NETWORK})
    assert (found.host_ifname, found.name) == ("vc0002", "renamed")
    store.remove_endpoints(ENDPOINT.container_id)
    assert store.endpoints({NETWORK.id: NETWORK}) == []
    store.add_endpoint(ENDPOINT)  # its port is free again


def test_an_endpoint_whose_port_is_taken_is_not_half_there(store):
    store.put_network(NETWORK)
    store.add_endpoint(ENDPOINT)
    rival = replace(ENDPOINT, id="f" * 64, container_id="d" * 64, ports=(replace(WEB, host_port=8081), WEB))
    with pytest.raises(Exception, match="UNIQUE"):
        store.add_endpoint(rival)
    assert store.endpoints({NETWORK.id: NETWORK}) == [ENDPOINT]


def test_facts(store):
    assert store.fact("x") == ""
    store.remember("x", "1")
    store.remember("x", "2")
    assert store.fact("x") == "2"
    store.remember("x", "")
    assert store.fact("x") == ""


def test_predefined_networks_keep_their_ids(store):
    first = ensure_predefined(store)
    assert [(each.name, each.driver) for each in first] == [
        ("bridge", "bridge"),
        ("host", "host"),
        ("none", "null"),
    ]
    assert ensure_predefined(store) == first


def test_network_document():
    document = network_document(NETWORK, [ENDPOINT])
    assert document.created == "2023-11-14T22:13:20.123456789Z"
    assert document.ipam.config is not None
    (config,) = document.ipam.config
    assert (config.subnet, config.gateway, config.ip_range) == (
        "172.17.0.0/16",
        "172.17.0.1",
        "172.17.1.0/24",
    )
    container = document.containers[ENDPOINT.container_id]
    assert (container.name, container.ipv4_address, container.mac_address) == (
        "web",
        "172.17.0.2/16",
        "02:42:ac:11:00:02",
    )
    host = network_document(Network(id="b" * 64, name="host", driver="host", created_ns=0))
    assert (host.ipam.config, host.containers, host.options) == (None, {}, {})


def test_container_documents():
    settings = network_settings([ENDPOINT], exposed=["80/tcp", "81/tcp"])
    assert (settings.ip_address, settings.gateway, settings.ip_prefix_len) == (
        "172.17.0.2",
        "172.17.0.1",
        16,
    )
    assert settings.networks == {"bridge": endpoint_settings(ENDPOINT)}
    assert settings.ports == {
        "80/tcp": [PortBindingDocument(host_ip="0.0.0.0", host_port="8080")],
        "81/tcp": None,
    }
    on_host = replace(ENDPOINT, network_name="host", ipv4="", ports=())
    assert network_settings([on_host]).ip_address == ""
    assert port_map([on_host]) == {}
