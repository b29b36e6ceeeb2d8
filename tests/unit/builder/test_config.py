"""The key `builder` of daemon.json."""

import pytest

from corten.builder.config import DEFAULT_SPACE, parse_builder_config
from corten.builder.keeping import KeepRule
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.types.operations import CacheSpace

GB = 1 << 30


@pytest.mark.parametrize(
    ("gc", "rules"),
    [
        (None, [KeepRule(space=DEFAULT_SPACE)]),
        ({"enabled": False}, []),
        ({"enabled": True, "policy": []}, []),
        ({"defaultKeepStorage": "1GB"}, [KeepRule(space=CacheSpace(reserved=GB))]),
        (
            {"defaultReservedSpace": "1GB", "defaultMaxUsedSpace": "2GB", "defaultMinFreeSpace": "3GB"},
            [KeepRule(space=CacheSpace(reserved=GB, max_used=2 * GB, min_free=3 * GB))],
        ),
        (
            {
                "defaultKeepStorage": "3GB",
                "policy": [
                    {"keepStorage": "1GB", "filter": ["unused-for=48h", "type==exec.cachemount"]},
                    {"maxUsedSpace": "2GB", "filter": {"until": {"1h": True}}},
                    {"all": True},
                ],
            },
            [
                KeepRule(
                    space=CacheSpace(reserved=GB),
                    filters=Filters({"unused-for": ["48h"], "type": ["exec.cachemount"]}),
                ),
                KeepRule(space=CacheSpace(max_used=2 * GB), filters=Filters({"until": ["1h"]})),
                KeepRule(space=CacheSpace(), all=True),
            ],
        ),
    ],
)
def test_rules(gc, rules):
    assert parse_builder_config({"gc": gc}).keep_rules == rules


def test_entitlements_that_no_build_is_granted():
    said = {"network-host": False, "security-insecure": True}
    assert parse_builder_config({"entitlements": said}).denied == {"network.host"}
    assert parse_builder_config(None).denied == frozenset()


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"gc": []},
        {"gc": {"defaultKeepStorage": "x"}},
        {"gc": {"policy": [{"filter": ["kind=a"]}]}},
        {"gc": {"policy": [{"filter": ["unused-for=soon"]}]}},
        {"gc": {"defaultKeepStorag": "1GB"}},
        {"history": {"maxEntries": 5}},
        {"entitlements": {"network-host": "no"}},
    ],
)
def test_what_is_not_understood_is_refused(document):
    with pytest.raises(InvalidParameter, match="invalid builder"):
        parse_builder_config(document)
