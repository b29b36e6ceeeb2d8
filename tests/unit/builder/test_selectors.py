"""containerd's filters, as `buildx du --filter` sends them."""

import pytest

from corten.builder.selectors import parse_selectors
from corten.errors import InvalidParameter

RECORD = {"id": "abc", "type": "regular", "description": "mount / from, exec", "shared": ""}


@pytest.mark.parametrize(
    ("texts", "meant"),
    [
        ([], True),
        ([""], True),
        (["type==regular"], True),
        (["type==other"], False),
        (["type!=other"], True),
        (["nothing!=x"], True),
        (["nothing==x"], False),
        (["id~=^a"], True),
        (["id~=^b"], False),
        (["description~=/mount . from/"], True),
        (['description=="mount / from, exec",id==abc'], True),
        (["shared"], True),
        (["private"], False),
        (["type==regular,id==x"], False),
        (["id==x", "type==regular"], True),
    ],
)
def test_what_is_meant(texts, meant):
    assert parse_selectors(texts)(RECORD.get) is meant


@pytest.mark.parametrize("text", ["==x", "id=x", 'id=="x', "id~=(", ",", "id x"])
def test_what_is_no_filter(text):
    with pytest.raises(InvalidParameter, match="filters: "):
        parse_selectors([text])
