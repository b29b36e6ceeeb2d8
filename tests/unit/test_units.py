# ruff: noqa: E501
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten import spans, units

SECOND = units.SECOND_NS


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("1h30m", 5400 * SECOND),
        ("-1.5s", -1_500_000_000),
        ("+300ms", 300_000_000),
        (".5s", 500_000_000),
        ("1.s", SECOND),
        ("2us3ns", 2003),
        ("1µs", 1000),
        ("0.3333333333333333333h", 1_199_999_999_999),
    ],
)
def test_durations(text, ns):
    assert units.parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("-", 'time: invalid duration "-"'),
        (".s", 'time: invalid duration ".s"'),
        ("1h-5m", 'time: unknown unit "h-" in duration "1h-5m"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
    ],
)
def test_bad_durations(text, message):
    with pytest.raises(ValueError, match="time") as raised:
        units.parse_duration(text)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (1_500_000_000, "1.5s"),
        (90 * SECOND, "1m30s"),
        (3600 * SECOND, "1h0m0s"),
        (-5400 * SECOND, "-1h30m0s"),
        (10_000_000_000, "10s"),
    ],
)
def test_format_duration(ns, text):
    assert units.format_duration(ns) == text


@given(st.integers(-(1 << 62), 1 << 62))
def test_durations_round_trip(ns):
    assert units.parse_duration(units.format_duration(ns)) == ns


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (2 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_human_duration(seconds, text):
    assert spans.human(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1_234_567, "1.235MB"),
        (4_260_000_000, "4.26GB"),
        (10**27, "1000YB"),
    ],
)
def test_human_size(size, text):
    assert units.human_size(size) == text


def test_human_size_with_docker_s_three_digits():
    assert units.human_size(4_261_000, 3) == "4.26MB"
    assert units.human_binary_size(1536) == "1.5KiB"


@pytest.mark.parametrize(
    ("text", "decimal", "binary"),
    [
        ("32", 32, 32),
        ("32b", 32, 32),
        ("1.5k", 1500, 1536),
        ("2 GB", 2 * 10**9, 2 << 30),
        ("2GiB", 2 * 10**9, 2 << 30),
        ("1T", 10**12, 1 << 40),
        (".5m", 500_000, 1 << 19),
    ],
)
def test_sizes(text, decimal, binary):
    assert units.parse_size(text) == decimal
    assert units.parse_binary_size(text) == binary


@pytest.mark.parametrize("text", ["", "x", "-1", "1kk", "1 2", "1e3", "1..5", "0x10", "1  k", "\u0661"])
def test_bad_sizes(text):
    with pytest.raises(ValueError, match="invalid s"):
        units.parse_size(text)


NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1700000000", NOW),
        ("1700000000.5", NOW + 500_000_000),
        ("10m", NOW - 600 * SECOND),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T22:13:20.000000001Z", NOW + 1),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14T22:13:20", NOW),
        ("2023-11-14T22:13", NOW - 20 * SECOND),
        ("2023-11-14", NOW - 80_000 * SECOND),
    ],
)
def test_times(text, ns):
    assert units.parse_time(text, NOW) == ns


@pytest.mark.parametrize("text", ["yesterday", "2023-13-01", "2023-01-01T25", "2023-1-1", ""])
def test_bad_times(text):
    with pytest.raises(ValueError, match="time"):
        units.parse_time(text, NOW)


@given(st.integers(0, 4_000_000_000 * SECOND))
def test_times_round_trip(ns):
    assert units.parse_time(units.format_time(ns), 0) == ns


def test_format_time_strips_zeros():
    assert units.format_time(NOW) == "2023-11-14T22:13:20Z"
    assert units.format_time(NOW + 120_000_000) == "2023-11-14T22:13:20.12Z"
