from ipaddress import IPv4Network

import pytest

from corten.errors import InvalidParameter, Unavailable
from corten.network.subnets import DEFAULT_POOLS, SubnetPool, choose_subnet


def test_docker_default_order():
    taken: list[IPv4Network] = []
    for _ in range(17):
        taken.append(choose_subnet(DEFAULT_POOLS, taken))
    assert str(taken[0]) == "172.17.0.0/16"
    assert str(taken[14]) == "172.31.0.0/16"
    assert str(taken[15]) == "192.168.0.0/20"
    assert str(taken[16]) == "192.168.16.0/20"


def test_whatever_overlaps_is_left_alone():
    taken = [IPv4Network("172.16.0.0/14"), IPv4Network("172.20.7.7/32")]
    assert str(choose_subnet(DEFAULT_POOLS, taken)) == "172.21.0.0/16"


def test_own_pools_and_their_end():
    pools = [SubnetPool(IPv4Network("10.10.0.0/23"), 24)]
    assert str(choose_subnet(pools, [IPv4Network("10.10.0.0/24")])) == "10.10.1.0/24"
    with pytest.raises(Unavailable, match="all predefined address pools have been fully subnetted"):
        choose_subnet(pools, [IPv4Network("10.0.0.0/8")])
    with pytest.raises(InvalidParameter):
        SubnetPool(IPv4Network("10.10.0.0/23"), 8)
