"""Heads of requests."""

import pytest

from corten.wire.head import BadHead, Head


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
