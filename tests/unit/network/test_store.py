from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from corten.metadata.ledger import Ledger
from corten.network.documents import endpoint_settings, network_document, port_map
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
    ifname="eth0",
    host_ifname="vc0001",
    dns_names=("web", "cccccccccccc"),
    gw_priority=3,
    ports=(WEB,),
)


@pytest.fixture
def store(tmp_path):
    ledger = Ledger(str(tmp_path / "meta.db"))
    yield NetworkStore(ledger)
    ledger.close()


def test_networks_and_endpoints_come_back_as_they_were(store):
    store.put_network(NETWORK)
    store.add_endpoints([ENDPOINT])
    assert store.networks() == [NETWORK]
    assert store.endpoints({NETWORK.id: NETWORK}) == [ENDPOINT]
    changed = replace(NETWORK, mtu=1280, subnets=())
    store.put_network(changed)
    assert store.networks() == [changed]


def test_changes_of_an_endpoint(store):
    store.put_network(NETWORK)
    store.add_endpoints([ENDPOINT])
    store.rename_container(ENDPOINT.container_id, "renamed")
    (found,) = store.endpoints({NETWORK.id: NETWORK})
    assert (found.host_ifname, found.name) == ("vc0001", "renamed")
    store.remove_endpoints(ENDPOINT.container_id)
    assert store.endpoints({NETWORK.id: NETWORK}) == []
    store.add_endpoints([ENDPOINT])  # its port is free again


def test_an_endpoint_whose_port_is_taken_is_not_half_there(store):
    store.put_network(NETWORK)
    store.add_endpoints([ENDPOINT])
    rival = replace(ENDPOINT, id="f" * 64, container_id="d" * 64, ports=(replace(WEB, host_port=8081), WEB))
    with pytest.raises(Exception, match="UNIQUE"):
        store.add_endpoints([rival])
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
    settings = endpoint_settings(ENDPOINT)
    assert (settings.ip_address, settings.gateway, settings.ip_prefix_len) == ("172.17.0.2", "172.17.0.1", 16)
    assert port_map([ENDPOINT], ["80/tcp", "81/tcp"]) == {
        "80/tcp": [PortBindingDocument(host_ip="0.0.0.0", host_port="8080")],
        "81/tcp": None,
    }
    on_host = replace(ENDPOINT, network_name="host", ipv4="", ports=())
    assert endpoint_settings(on_host).ip_prefix_len == 0
    assert port_map([on_host]) == {}


def test_user_defined_networks_are_shown_as_they_were_asked_for():
    subnet = Subnet(
        subnet=IPv4Network("10.7.0.0/24"), gateway="10.7.0.1", implied=True, auxiliary={"router": "10.7.0.9"}
    )
    six = Subnet(subnet=IPv6Network("fd00:7::/64"), gateway="fd00:7::1", chosen=True)
    network = replace(
        NETWORK,
        name="mine",
        subnets=(subnet, six),
        ipv6=True,
        internal=True,
        attachable=True,
        config_from="c",
    )
    document = network_document(network)
    assert document.ipam.config is not None
    assert [(c.subnet, c.gateway, c.auxiliary_addresses) for c in document.ipam.config] == [
        ("10.7.0.0/24", "", {"router": "10.7.0.9"}),
        ("fd00:7::/64", "fd00:7::1", None),
    ]
    assert (document.enable_ipv6, document.internal, document.attachable) == (True, True, True)
    assert document.config_from.network == "c"


def test_networks_come_back_from_the_ledger(store):
    six = Subnet(subnet=IPv6Network("fd00:7::/64"), gateway="fd00:7::1", auxiliary={"a": "fd00:7::9"})
    network = replace(
        NETWORK, id="d" * 64, name="mine", subnets=(*NETWORK.subnets, six), ipv6=True, modes={"6": "routed"}
    )
    store.put_network(network)
    assert [each for each in store.networks() if each.name == "mine"] == [network]
