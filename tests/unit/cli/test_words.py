"""Small texts: sizes, spans, tables, ports, references, times, detach keys, ignore rules."""

import pytest

from corten import spans
from corten.cli import clock, detach, moments, reference, sizes, table
from corten.cli.container.mounts import mount, split_csv, volumes
from corten.cli.container.ports import publish
from corten.cli.container.published import displayed
from corten.cli.image.ignore import Ignore


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (47 * 3600, "47 hours"),
        (49 * 3600, "2 days"),
        (15 * 86400, "2 weeks"),
        (70 * 86400, "2 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_spans(seconds, text):
    assert spans.human(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "digits", "text"),
    [
        (0, 3, "0B"),
        (999, 3, "999B"),
        (4261550, 3, "4.26MB"),
        (4261550, 4, "4.262MB"),
        (1124261550, 3, "1.12GB"),
    ],
)
def test_sizes(size_bytes, digits, text):
    assert sizes.decimal(size_bytes, digits) == text


def test_binary_sizes():
    assert sizes.binary(8217395200) == "7.653GiB"


def test_tables_are_as_wide_as_they_must():
    text = table.align([["A", "BB", "C"], ["a long cell", "x", ""]])
    assert text == "A             BB        C\na long cell   x         \n"


def test_published_ports():
    ports = [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        *({"PrivatePort": p, "Type": "tcp"} for p in (443, 444, 450)),
        *({"IP": "1.2.3.4", "PrivatePort": p, "PublicPort": p, "Type": "udp"} for p in (90, 91)),
    ]
    shown = "443-444/tcp, 1.2.3.4:90-91->90-91/udp, 450/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
    assert displayed(ports) == shown


def test_publish_forms():
    assert publish(["8080:80", "127.0.0.1:9000-9001:90-91/udp", "7", "[::1]::5"]) == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
        "90/udp": [{"HostIp": "127.0.0.1", "HostPort": "9000"}],
        "91/udp": [{"HostIp": "127.0.0.1", "HostPort": "9001"}],
        "7/tcp": [{"HostIp": "", "HostPort": ""}],
        "5/tcp": [{"HostIp": "::1", "HostPort": ""}],
    }


def test_volumes():
    binds, anonymous = volumes(["/a:/b:ro", "/anon", "name:/x"])
    assert binds == ["/a:/b:ro", "name:/x"]
    assert anonymous == {"/anon": {}}


def test_mounts():
    assert mount('type=volume,dst=/x,"volume-opt=o=a,b",ro') == {
        "Type": "volume",
        "Target": "/x",
        "ReadOnly": True,
        "VolumeOptions": {"DriverConfig": {"Options": {"o": "a,b"}}},
    }
    assert split_csv('a,"b ""c"",d",e') == ["a", 'b "c",d', "e"]


@pytest.mark.parametrize(
    ("text", "shown", "domain"),
    [
        ("busybox", "busybox:latest", "docker.io"),
        ("docker.io/library/busybox:1", "busybox:1", "docker.io"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000"),
        ("me/x@sha256:ab", "me/x@sha256:ab", "docker.io"),
    ],
)
def test_references(text, shown, domain):
    assert reference.familiar(text) == shown
    assert reference.domain(text) == domain


def test_times(monkeypatch):
    assert clock.parse("1970-01-02T00:00:01.5Z") == (86401, 500000000)
    assert clock.parse("2024-02-29T12:00:00+02:00") == (1709200800, 0)
    assert clock.parse("0001-01-01T00:00:00Z") is None
    assert clock.parse("nonsense") is None


def test_moments():
    assert moments.timestamp("1700000000.25") == "1700000000.25"
    assert moments.timestamp("2024-02-29T10:00:00Z") == "1709200800.000000000"
    assert moments.timestamp("2024-02-29T10:00Z") == "1709200800.000000000"


def test_detach_keys_are_found_across_reads():
    detector = detach.Detector(detach.parse("ctrl-p,ctrl-q"))
    assert detector.feed(b"ab\x10") == b"ab"
    assert detector.feed(b"\x10") == b"\x10"
    assert detector.feed(b"c") == b"\x10c"
    assert not detector.found
    assert detector.feed(b"\x10\x11rest") == b""
    assert detector.found


def test_detach_keys_that_repeat():
    detector = detach.Detector(detach.parse("a,a,b"))
    assert detector.feed(b"aaa") == b"a"
    assert detector.feed(b"b") == b""
    assert detector.found


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "abc", ""])
def test_bad_detach_keys(text):
    with pytest.raises(ValueError, match="Unknown character"):
        detach.parse(text)


@pytest.mark.parametrize(
    ("rules", "excluded", "kept"),
    [
        (["*.log"], ["a.log"], ["d/a.log", "a.txt"]),
        (["**/*.log"], ["a.log", "d/e/a.log"], ["a.txt"]),
        (["node_modules"], ["node_modules", "node_modules/x/y"], ["a/node_modules"]),
        (["/build/"], ["build/x"], ["a/build"]),
        (["*", "!src"], ["README", ".git/config"], ["src", "src/a.py"]),
        (["**", "!a/b"], ["a/c"], ["a/b/c"]),
        (["temp?"], ["temp1"], ["temp", "temp12"]),
        (["[a-c].txt", "x[^0-9]"], ["b.txt", "xa"], ["d.txt", "x1"]),
        (["# comment", "", "foo/**/bar"], ["foo/bar", "foo/a/b/bar"], ["bar"]),
        (["docs", "!docs/keep.md", "docs/keep.md/x"], ["docs/a", "docs/keep.md/x"], ["docs/keep.md"]),
    ],
)
def test_ignore_rules(rules, excluded, kept):
    ignore = Ignore(rules)
    assert [p for p in excluded if not ignore.excludes(p)] == []
    assert [p for p in kept if ignore.excludes(p)] == []


def test_ignored_folders_are_walked_only_if_needed():
    assert Ignore(["node_modules"]).prunes("node_modules")
    assert not Ignore(["*", "!src/a"]).prunes("src")
    assert Ignore(["*", "!src/a"]).prunes("lib")
