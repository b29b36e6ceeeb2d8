"""Heads of requests."""

import pytest

from corten.wire.head import BadHead, Head, read_head


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        (b"/info?x=http://y/z", b"/info?x=http://y/z"),
        (b"http://engine:2375/v1.51/info?x=/", b"/v1.51/info?x=/"),
        (b"http://engine", b"/"),
        (b"/images/http://x/json", b"/images/http://x/json"),
    ],
)
def test_a_target_in_absolute_form_is_its_path(asked, target):
    assert Head(b"GET " + asked + b" HTTP/1.1\r\nHost: engine\r\n\r\n").target == target


def test_a_host_must_be_named():
    with pytest.raises(BadHead, match="^missing required Host header$") as refused:
        Head(b"GET / HTTP/1.1\r\n\r\n")
    assert refused.value.status == 400
    assert Head(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").headers == {b"host": b""}
    assert Head(b"GET / HTTP/1.0\r\n\r\n").http10


def test_the_same_again_is_parsed_once_unless_it_may_hold_a_secret():
    def parsed_once(*lines):
        data = b"\r\n".join([b"POST /grpc HTTP/1.1", b"Host: ", *lines, b"", b""])
        assert (read_head(data).method, read_head(data).headers[b"host"]) == (b"POST", b"")
        return read_head(data) is read_head(data)

    assert parsed_once(b"Connection: Upgrade", b"Upgrade: h2c")
    assert not parsed_once(b"X-Registry-Auth: " + b"x" * 120)


@pytest.mark.parametrize(
    "lines",
    [b"Content-Length: x", b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked\r\nContent-Length: 1"],
)
def test_what_is_refused_is_refused_again(lines):
    for _ in range(2):
        with pytest.raises(BadHead):
            read_head(b"POST / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n\r\n")


def test_who_is_given_the_same_head_has_a_body_of_his_own():
    for line in (b"Content-Length: 3", b"Transfer-Encoding: chunked"):
        data = b"POST / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n"
        first, second = read_head(data).body_decoder(), read_head(data).body_decoder()
        assert first is not None
        assert first is not second
    assert read_head(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").body_decoder() is None
