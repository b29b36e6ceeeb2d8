from ipaddress import IPv4Interface, IPv4Network

import pytest

from corten.errors import InvalidParameter, NotSupported
from corten.network.config import NetworkConfig


def test_defaults():
    config = NetworkConfig.from_document({})
    assert config == NetworkConfig()
    assert (config.bridge, config.table, config.mtu, config.icc) == ("corten0", "corten", 0, True)


def test_all_keys():
    config = NetworkConfig.from_document(
        {
            "bridge": "br9",
            "bip": "10.1.0.1/16",
            "fixed-cidr": "10.1.2.0/24",
            "default-gateway": "10.1.0.254",
            "mtu": 9000,
            "icc": False,
            "ip": "127.0.0.1",
            "ip-forward": False,
            "ip-forward-no-drop": True,
            "ip-masq": False,
            "iptables": False,
            "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}],
            "dns": ["10.0.0.53", "fd00::53"],
            "dns-search": ["example.org"],
            "dns-opts": ["ndots:1"],
            "host-gateway-ip": "10.0.0.1",
            "ipv6": True,
            "fixed-cidr-v6": "fd00:1::/64",
            "default-gateway-v6": "fd00:1::9",
            "log-level": "debug",
        },
        table="other",
        link_prefix="vx1",
    )
    assert (config.ipv6, str(config.fixed_cidr6), config.default_gateway6) == (
        True,
        "fd00:1::/64",
        "fd00:1::9",
    )
    assert config.bip == IPv4Interface("10.1.0.1/16")
    assert config.fixed_cidr == IPv4Network("10.1.2.0/24")
    assert [str(each.base) for each in config.pools] == ["10.0.0.0/8"]
    assert (config.dns, config.dns_search, config.dns_options) == (
        ("10.0.0.53", "fd00::53"),
        ("example.org",),
        ("ndots:1",),
    )
    assert (config.icc, config.ip_forward, config.ip_masq, config.firewall) == (False, False, False, False)
    assert (config.table, config.link_prefix, config.host_gateway) == ("other", "vx1", "10.0.0.1")


@pytest.mark.parametrize(
    "document",
    [
        {"bip": "10.1.0.0/16"},
        {"bip": "10.1.0.1"},
        {"bip": 7},
        {"mtu": 10},
        {"mtu": True},
        {"icc": "yes"},
        {"dns": "10.0.0.1"},
        {"dns": ["nope"]},
        {"bridge": "a name with spaces"},
        {"bridge": 'x" drop'},
        {"bridge": "longer-than-fifteen"},
        {"default-address-pools": [{"base": "10.0.0.0/8"}]},
        {"default-address-pools": [{"base": "10.0.0.0/8", "size": 4}]},
        {"default-address-pools": {}},
        {"fixed-cidr": "10.0.0.0/99"},
    ],
)
def test_bad_values_are_refused(document):
    with pytest.raises(InvalidParameter):
        NetworkConfig.from_document(document)


def test_ipv6_addresses_where_only_ipv4_can_be():
    with pytest.raises(NotSupported, match="IPv4 address"):
        NetworkConfig.from_document({"ip": "::1"})


@pytest.mark.parametrize("options", [{"table": "x; flush ruleset"}, {"link_prefix": "waytoolong"}])
def test_names_that_would_break_out_are_refused(options):
    with pytest.raises(InvalidParameter):
        NetworkConfig.from_document({}, **options)
