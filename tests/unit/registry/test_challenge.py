import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.registry.client.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (['Basic realm="x"'], [Challenge("basic", {"realm": "x"})]),
        (
            ['Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {"realm": "https://a/token", "service": "s", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (["BEARER Realm=plain , service = s"], [Challenge("bearer", {"realm": "plain", "service": "s"})]),
        (
            ['Bearer realm="a", Basic realm="b"', "Negotiate"],
            [Challenge("bearer", {"realm": "a"}), Challenge("basic", {"realm": "b"}), Challenge("negotiate")],
        ),
        ([r'Basic realm="say \"hi\""'], [Challenge("basic", {"realm": 'say "hi"'})]),
        (["", "=", '"'], []),
    ],
)
def test_challenges(headers, found):
    assert parse_challenges(headers) == found


@given(st.lists(st.text(max_size=60), max_size=3))
def test_any_header_is_survived(headers):
    parse_challenges(headers)
