"""Sizes, durations and numbers as Go reads them."""

import pytest

from corten.cli import values


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("512", 512),
        ("1k", 1024),
        ("64m", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("2 kb", 2048),
        ("7b", 7),
        ("1T", 1 << 40),
    ],
)
def test_sizes(text, size_bytes):
    assert values.size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "x", "-5", "5x", "5bb", "5kib5", "5iB", " 5"])
def test_no_sizes(text):
    with pytest.raises(ValueError, match="invalid s"):
        values.size(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("1h30m", 5400 * 10**9), ("250ms", 250 * 10**6), ("-1.5s", -15 * 10**8), ("0", 0), ("1us", 1000)],
)
def test_durations(text, nanoseconds):
    assert values.duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5", 'time: missing unit in duration "5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("", 'time: invalid duration ""'),
        ("s", 'time: invalid duration "s"'),
    ],
)
def test_no_durations(text, why):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        values.duration(text)
    assert str(caught.value) == why


@pytest.mark.parametrize(("text", "nano"), [("1.5", 1_500_000_000), ("2", 2 * 10**9), (".25", 250_000_000)])
def test_cpus(text, nano):
    assert values.nano_cpus(text) == nano


def test_integers_have_go_bases():
    assert [values.integer(t) for t in ("0x10", "010", "-3", "0b11")] == [16, 8, -3, 3]
