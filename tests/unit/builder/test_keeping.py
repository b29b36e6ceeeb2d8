"""How much of the build cache is kept."""

import pytest

from corten.builder.cachemounts import MountEntry
from corten.builder.keeping import DEFAULT_KEEP_BYTES, KeepRule, keep, parse_keep_rules
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


class NoLayers:
    """A cache with nothing but mounts."""

    def size(self):
        return 0

    def entries(self):
        return []

    def layers_of_images(self):
        return set()

    def remove_all(self, keys):
        assert not list(keys)


def mount(identifier, used_ns, **more):
    return MountEntry(
        id=identifier, description="", created_ns=0, used_ns=used_ns, size=10, **{"in_use": False, **more}
    )


def test_cache_mounts_count_and_go_the_longest_unused_first():
    mounts = [mount("old", 1), mount("busy", 2, in_use=True), mount("new", 3)]
    assert keep(NoLayers(), [KeepRule(keep_bytes=30)], mounts) == set()
    assert keep(NoLayers(), [KeepRule(keep_bytes=25)], mounts) == {"old"}
    assert keep(NoLayers(), [KeepRule(keep_bytes=25), KeepRule(keep_bytes=5)], mounts) == {"old", "new"}
