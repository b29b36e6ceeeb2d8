"""The words of egress policies, what becomes of them in nft's language, and what netd makes of names."""

import socket
import struct

import pytest

from corten.errors import InvalidParameter
from corten.network.egress.denials import Denial, denial
from corten.network.egress.policy import Destination, Service, parse
from corten.network.egress.ruleset import Confined, Guarded, confine, release
from corten.supervisor.netd.egress import Egress, is_granted, matches
from corten.wire import dns


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("198.51.100.7", "198.51.100.7/32  0 0"),
        ("198.51.100.7/24:443", "198.51.100.0/24 tcp 443 443"),
        ("[2001:db8::/32]:53/udp", "2001:db8::/32 udp 53 53"),
        ("2001:db8::7", "2001:db8::7/128  0 0"),
        ("10.0.0.0/8/udp", "10.0.0.0/8 udp 0 0"),
        ("Example.COM.:8000-8010", "example.com tcp 8000 8010"),
        ("*.example.com", "*.example.com  0 0"),
    ],
)
def test_destinations(text: str, shown: str) -> None:
    (found,) = parse(f"allow={text}").allowed
    service = found.service
    assert f"{found.network or found.name} {service.protocol} {service.first} {service.last}" == shown


def test_everywhere_is_both_families() -> None:
    assert [str(each.network) for each in parse("allow=*:443").allowed] == ["0.0.0.0/0", "::/0"]
    assert parse(" deny ").allowed == ()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "allow",
            "allow=",
            "allow=,",
            "deny=x",
            "deny,allow=x",
            "allow=a b",
            "allow=a:0",
            "allow=a:70000",
        ),
        *(
            "allow=a:9-8",
            "allow=a:",
            "allow=a:x",
            "allow=1.2.3",
            "allow=1.2.3.4/40",
            "allow=a.*.b",
            "allow=-a",
        ),
        *('allow=a";drop', "allow=a\nb", "allow=" + "a" * 64, "allow=" + ",".join(["a"] * 300), "allow=/udp"),
    ],
)
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse(text)


def test_release_undoes_confine() -> None:
    """Every chain, set and element that one adds the other one deletes."""
    confined = Confined(
        key="c0123",
        policy=parse("allow=192.0.2.0/24:80,example.com:443,example.org"),
        bridges=("br-1", "br-2"),
        guarded=(Guarded(port="vc1", mac="02:42:0a:00:00:02", ipv4="10.0.0.2", ipv6="fd00::2"),),
    )
    added = {
        _named(line)
        for line in confine("t", confined, 7).splitlines()
        if not line.startswith(("add rule", "flush"))
    }
    deleted = {_named(line) for line in release("t", confined).splitlines() if line.startswith("delete")}
    assert {each.partition(" {")[0] if " set " in f" {each}" else each for each in added} == deleted


def _named(line: str) -> str:
    return line.partition(" ")[2]


def test_policies_agree_on_names() -> None:
    egress = Egress("t", [[["*.example.com", "c1_0"], ["www.example.com", "c1_1"]], [["*.com", "n1_0"]]])
    assert egress.sets("www.example.com") == ["c1_0", "c1_1", "n1_0"]
    assert [name for name in ("a.example.com", "example.com", "a.org") if egress.allows(_query(name))] == [
        "a.example.com"
    ]
    assert matches("example.com", "example.com")
    assert not matches("*.example.com", "badexample.com")
    assert not matches("*.example.com", ".example.com"[1:])
    assert egress.is_news("a") and not egress.is_news("a")


def _query(name: str, kind: int = dns.A) -> dns.Query:
    message = (
        struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 1)
        + dns.encode_name(name)
        + struct.pack(">HH", kind, dns.IN)
    )
    option = b"\0" + struct.pack(">HHIH", dns.OPT, 4096, 0, 9) + struct.pack(">HH", 65001, 5) + b"smugg"
    query = dns.parse_query(message + option)
    assert query is not None
    return query


def test_only_the_question_goes_on() -> None:
    query = _query("WwW.Example.com")
    plain = dns.plain_query(query)
    assert b"smugg" not in plain
    again = dns.parse_query(plain)
    assert again is not None
    assert (again.name, again.kind, again.id, again.has_opt) == ("www.example.com", dns.A, 7, True)
    assert query.question in dns.with_question(plain, query)


def test_addresses_of_an_answer() -> None:
    query = _query("www.example.com")
    records = [
        (5, 60, dns.encode_name("cdn.example.net")),
        (dns.A, 60, bytes((198, 51, 100, 1))),
        (dns.A, 60, b"short"),
        (dns.AAAA, 30, socket.inet_pton(socket.AF_INET6, "2001:db8::1")),
    ]
    message = dns.reply(query, dns.NOERROR, records)
    assert dns.addresses(message) == [(bytes((198, 51, 100, 1)), 60), (records[3][2], 30)]
    for end in range(len(message)):
        assert len(dns.addresses(message[:end])) <= 2
    assert dns.addresses(b"\xff" * 40) == []


def test_denials_are_read_from_packets() -> None:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 6, 0) + bytes((10, 0, 0, 2)) + bytes((192, 0, 2, 9))
    assert denial("c1", head + struct.pack(">HH", 999, 443)) == Denial(
        "c1", "10.0.0.2", "192.0.2.9", "tcp", 443
    )
    assert denial("c1", head[:12]) is None
    assert denial("c1", b"") is None
    six = (
        struct.pack(">IHBB", 6 << 28, 0, 58, 64) + b"\xfd" + bytes(14) + b"\2" + b"\xff\2" + bytes(13) + b"\1"
    )
    assert denial("n1", six) == Denial("n1", "fd00::2", "ff02::1", "ipv6-icmp", 0)


def test_same_services_share_a_set() -> None:
    policy = parse("allow=a.net:443,b.net:443,c.net")
    assert policy.allowed[0] == Destination(name="a.net", service=Service("tcp", 443, 443))
    text = confine("t", Confined(key="n1", policy=policy, bridges=("br-1",)), 7)
    assert text.count("add set") == 4  # two services, two families


@pytest.mark.parametrize(
    ("text", "granted"),
    [
        *(("198.51.100.1", True), ("10.0.0.1", True), ("127.0.0.1", False), ("169.254.169.254", False)),
        *(("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False)),
        *(("2001:db8::1", True), ("::1", False), ("::", False), ("fe80::1", False), ("ff02::1", False)),
        ("::ffff:127.0.0.1", False),
        *(("fd00:ec2::254", False), ("fd00:ec2::253", True)),
        *(("64:ff9b::169.254.169.254", False), ("64:ff9b::198.51.100.1", True)),
    ],
)
def test_answers_that_open_nothing(text: str, granted: bool) -> None:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    assert is_granted(socket.inet_pton(family, text)) == granted
