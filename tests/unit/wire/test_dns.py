"""DNS messages: our own questions and answers, and whatever a container may send."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.wire import dns


def question(name: str, kind: int = dns.A, *, opt: int = 0) -> bytes:
    head = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 1 if opt else 0)
    extra = b"\0" + struct.pack(">HHIH", dns.OPT, opt, 0, 0) if opt else b""
    return head + dns.encode_name(name) + struct.pack(">HH", kind, dns.IN) + extra


def parsed(name: str, kind: int = dns.A, *, opt: int = 0) -> dns.Query:
    query = dns.parse_query(question(name, kind, opt=opt))
    assert query is not None
    return query


def test_a_question_and_its_answer():
    query = parsed("Web.Mine", opt=4096)
    assert (query.id, query.name, query.kind, query.payload) == (7, "web.mine", dns.A, 4096)
    message = dns.reply(query, dns.NOERROR, [(dns.A, 600, socket.inet_aton("10.0.0.2"))])
    number, flags, questions, answers, _, additional = struct.unpack_from(">HHHHHH", message)
    assert (number, flags, questions, answers, additional) == (7, 0x8180, 1, 1, 1)
    assert message[12:].startswith(b"\x03Web\x04Mine\0")  # as it was asked
    assert b"\xc0\x0c\0\x01\0\x01\0\0\x02\x58\0\x04\x0a\0\0\x02" in message
    assert dns.is_answer_to(message, 7, query.question)
    assert not dns.is_answer_to(message, 8, query.question)
    assert not dns.is_answer_to(message, 7, parsed("other").question)


def test_what_does_not_fit_is_cut_short():
    query = parsed("web")
    message = dns.reply(query, dns.NOERROR, [(dns.A, 600, b"\1\2\3\4")] * 64, query.payload)
    assert len(message) <= 512
    assert message[2] & 0x02  # TC
    assert struct.unpack_from(">H", message, 6) == (0,)


def test_codes():
    message = dns.reply(parsed("web"), dns.SERVFAIL)
    assert dns.code_of(message) == dns.SERVFAIL
    assert dns.with_id(message, 0x1234)[:2] == b"\x12\x34"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("2.0.18.172.in-addr.arpa", "172.18.0.2"),
        ("300.0.18.172.in-addr.arpa", ""),
        ("0.18.172.in-addr.arpa", ""),
        (".".join(reversed("fd00" + "0" * 27 + "2")) + ".ip6.arpa", "fd00::2"),
        (".".join("zz") + ".ip6.arpa", ""),
        ("example.org", ""),
    ],
)
def test_reverse_names(name, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert dns.reverse_address(name) == (socket.inet_pton(family, address) if address else None)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["abcdefgh"] * 32)])
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match="not a name"):
        dns.encode_name(name)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 11,
        question("a")[:-1],
        b"\0\7\x81\0" + question("a")[4:],  # an answer
        question("a")[:4] + b"\0\2" + question("a")[6:],  # two questions
        question("a")[:12] + b"\xc0\x0c\0\1\0\1",  # a name that points to itself
    ],
)
def test_what_is_no_question(data):
    assert dns.parse_query(data) is None


@given(st.binary(max_size=600))
def test_anything_is_survived(data):
    query = dns.parse_query(data)
    if query is not None:
        assert len(dns.reply(query, dns.NXDOMAIN)) >= dns.HEADER_SIZE
