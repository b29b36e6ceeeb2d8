from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Forbidden, InvalidParameter, Unavailable
from corten.network.ipam import AddressPool, mac_of


def pool(subnet="10.0.0.0/29", **options):
    return AddressPool(IPv4Network(subnet), **{"reserved": ["10.0.0.1"], **options})


def test_next_after_the_last_one_even_if_earlier_ones_are_free():
    addresses = pool()
    assert [addresses.take() for _ in range(3)] == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    addresses.release("10.0.0.2")
    assert addresses.take() == "10.0.0.5"
    assert addresses.take() == "10.0.0.6"
    assert addresses.take() == "10.0.0.2"  # after the wrap


def test_a_full_pool_refuses_until_something_is_released():
    addresses = pool()
    for _ in range(5):
        addresses.take()
    with pytest.raises(Unavailable, match="no available IPv4 addresses"):
        addresses.take()
    addresses.release("10.0.0.4")
    addresses.release("10.0.0.4")
    assert addresses.take() == "10.0.0.4"
    with pytest.raises(Unavailable):
        addresses.take()


def test_addresses_come_from_the_range_but_may_be_asked_for_outside_of_it():
    addresses = pool("10.0.0.0/24", ip_range=IPv4Network("10.0.0.64/31"))
    assert addresses.take_this("10.0.0.9") == "10.0.0.9"
    assert [addresses.take(), addresses.take()] == ["10.0.0.64", "10.0.0.65"]
    with pytest.raises(Unavailable):
        addresses.take()


def test_requested_addresses_are_checked():
    addresses = pool()
    addresses.take_this("10.0.0.3")
    for taken in ("10.0.0.3", "10.0.0.1", "10.0.0.0", "10.0.0.7"):
        with pytest.raises(Forbidden, match="Address already in use"):
            addresses.take_this(taken)
    with pytest.raises(InvalidParameter, match="no configured subnet"):
        addresses.take_this("10.0.1.1")
    with pytest.raises(InvalidParameter, match="invalid IPv4 address"):
        addresses.take_this("10.0.0")
    assert addresses.take() == "10.0.0.2"
    assert addresses.take() == "10.0.0.4"


def test_adopted_addresses_are_not_given_again():
    addresses = pool()
    addresses.adopt("10.0.0.4")
    addresses.adopt("10.0.0.4")
    assert [addresses.take() for _ in range(4)] == ["10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3"]


@given(st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=200))
def test_no_address_is_ever_given_twice(steps):
    """None takes one, a number releases that one of the taken."""
    addresses = pool("10.0.0.0/28")
    taken: list[str] = []
    for step in steps:
        if step is None:
            try:
                address = addresses.take()
            except Unavailable:
                assert len(taken) == 13
                continue
            assert address not in taken
            assert address not in ("10.0.0.0", "10.0.0.1", "10.0.0.15")
            taken.append(address)
        elif taken:
            addresses.release(taken.pop(step % len(taken)))


def test_mac_follows_the_address():
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"
