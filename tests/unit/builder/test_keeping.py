"""How much of the build cache is kept."""

import pytest

from corten.builder.keeping import DEFAULT_KEEP_BYTES, KeepRule, parse_keep_rules
from corten.errors import InvalidParameter


@pytest.mark.parametrize(
    ("document", "rules"),
    [
        (None, [KeepRule(keep_bytes=DEFAULT_KEEP_BYTES)]),
        ({"gc": {"enabled": False}}, []),
        ({"gc": {"defaultKeepStorage": "1GB"}}, [KeepRule(keep_bytes=1 << 30)]),
        (
            {
                "gc": {
                    "defaultKeepStorage": "3GB",
                    "policy": [{"keepStorage": "1GB", "filter": ["unused-for=48h"]}, {"all": True}],
                }
            },
            [KeepRule(keep_bytes=1 << 30, unused_for="48h"), KeepRule(keep_bytes=3 << 30, all=True)],
        ),
    ],
)
def test_rules(document, rules):
    assert parse_keep_rules(document) == rules


@pytest.mark.parametrize(
    "document",
    [[], {"gc": []}, {"gc": {"defaultKeepStorage": "x"}}, {"gc": {"policy": [{"filter": ["type==a"]}]}}],
)
def test_what_is_no_rule(document):
    with pytest.raises(InvalidParameter, match="builder.gc"):
        parse_keep_rules(document)
