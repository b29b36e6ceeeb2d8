"""File modes there and back."""

import stat

import pytest

from corten.wire.gomode import from_go, to_go


@pytest.mark.parametrize(
    ("ours", "gos"),
    [
        (stat.S_IFDIR | 0o755, 2147484141),
        (stat.S_IFLNK | 0o777, 134218239),
        (stat.S_IFREG | 0o4644, 1 << 23 | 0o644),
        (stat.S_IFCHR | 0o666, 1 << 26 | 1 << 21 | 0o666),
        (stat.S_IFBLK | 0o660, 1 << 26 | 0o660),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
    ],
)
def test_modes_are_those_of_go(ours, gos):
    assert (to_go(ours), from_go(gos)) == (gos, ours)
