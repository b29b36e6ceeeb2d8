"""The platforms of a result."""

import pytest

from corten.buildkit import platformlist
from corten.errors import InvalidParameter
from corten.platforms import parse_platform


def test_references_are_taken_in_the_order_of_the_platforms():
    said = platformlist.encode(map(parse_platform, ["linux/arm64", "linux/amd64", "linux/arm/v7"]))
    names = ["linux/amd64", "linux/s390x", "linux/arm/v7", "linux/arm64"]
    expected = ["linux/arm64", "linux/amd64", "linux/arm/v7", "linux/s390x"]
    assert platformlist.in_order(names, {platformlist.KEY: said}) == expected
    assert platformlist.in_order(names, {}) == sorted(names)


@pytest.mark.parametrize("said", [b"[", b"\xff", b'{"Platforms": 1}', b"[" * 100_000])
def test_what_is_no_list(said):
    with pytest.raises(InvalidParameter, match="failed to parse platforms"):
        platformlist.in_order([], {platformlist.KEY: said})
