"""Which entries of the build cache go."""

import pytest

from corten.builder.cache import CacheEntry
from corten.builder.cachemounts import MountEntry
from corten.builder.pruning import fields_of, prune, selector_of, unused_since
from corten.errors import InvalidParameter
from corten.filters import Filters, InvalidFilter
from corten.types.operations import CacheSpace

ALL = selector_of(Filters())
NOTHING = CacheSpace()


class FakeCache:
    def __init__(self, *layers: str) -> None:
        self.kept = [
            CacheEntry(
                key=f"sha256:{number}",
                diff_id=layer,
                created_ns=0,
                used_ns=number,
                uses=1,
                size=10,
                description=f"step {number}",
            )
            for number, layer in enumerate(layers)
        ]
        self.held: set[str] = set()

    def entries(self):
        return list(self.kept)

    def layers_of_images(self):
        return self.held

    def remove_all(self, keys):
        gone = set(keys)
        self.kept = [entry for entry in self.kept if entry.key not in gone]


def test_a_layer_is_freed_with_the_last_entry_that_has_it():
    cache = FakeCache("a", "a", "b")
    report = prune(cache, ALL, all=True, space=CacheSpace(reserved=15))
    assert [entry.diff_id for entry in cache.kept] == ["b"]
    assert report.space_reclaimed == 10


def gone_by(cache, filters, *mounts):
    wanted = selector_of(Filters(filters))
    return prune(cache, wanted, all=True, space=NOTHING, mounts=mounts).caches_deleted


def seen(cache, mounts):
    return [fields_of(each, cache.held) for each in (*cache.entries(), *mounts)]


def test_a_label_is_on_nothing():
    cache = FakeCache("a")
    assert gone_by(cache, {"label": ["x"]}) == []
    assert gone_by(cache, {"label!": ["x"]}) == ["0"]


@pytest.mark.parametrize(("all_of_them", "left"), [(True, []), (False, ["a"])])
def test_layers_of_images_are_kept_unless_all_are_asked_for(all_of_them, left):
    cache = FakeCache("a", "b")
    cache.held = {"a"}
    assert prune(cache, ALL, all=all_of_them, space=NOTHING).space_reclaimed == 10
    assert [entry.diff_id for entry in cache.kept] == left


def mount(identifier, used_ns, *, in_use=False):
    return MountEntry(id=identifier, description="", created_ns=0, used_ns=used_ns, size=7, in_use=in_use)


def test_cache_mounts_go_in_their_turn_unless_they_are_in_use():
    cache = FakeCache("a", "b")  # used at 0 and 1
    mounts = [mount("busy", -2, in_use=True), mount("old", -1), mount("new", 5)]
    report = prune(cache, ALL, all=True, space=CacheSpace(reserved=25), mounts=mounts)
    assert report.caches_deleted == ["0", "old"]
    assert report.space_reclaimed == 17


@pytest.mark.parametrize(("kind", "gone"), [("exec.cachemount", ["m"]), ("regular", ["0"]), ("frontend", [])])
def test_records_are_chosen_by_type(kind, gone):
    assert gone_by(FakeCache("a"), {"type": [kind]}, mount("m", 3)) == gone


@pytest.mark.parametrize(
    ("filters", "gone"),
    [
        ({"id": ["^0$"]}, ["0"]),
        ({"id": ["[01]"], "shared": []}, ["0"]),
        ({"private": []}, ["1", "m", "busy"]),
        ({"shared": ["true"]}, ["0"]),
        ({"inuse": []}, ["busy"]),
        ({"description": ["step 1"]}, ["1"]),
        ({"description": ["step"]}, []),
        ({"parent": ["x"]}, []),
    ],
)
def test_records_are_chosen_by_what_they_are(filters, gone):
    cache = FakeCache("a", "b")
    cache.held = {"a"}
    mounts = [mount("m", 3), mount("busy", 4, in_use=True)]
    chosen = selector_of(Filters(filters))
    assert [
        name
        for name, fields in zip(["0", "1", "m", "busy"], seen(cache, mounts), strict=True)
        if chosen(fields)
    ] == gone


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        ({"mutable": []}, InvalidFilter, "invalid filter 'mutable'"),
        ({"type": ["a", "b"]}, InvalidParameter, "filters expect only one value"),
        ({"until": ["1h", "2h"]}, InvalidParameter, "filters expect only one value"),
        ({"until": ["1h"], "unused-for": ["1h"]}, InvalidParameter, "conflicting filters"),
        ({"unused-for": ["x"]}, InvalidParameter, '"unused-for" filter expects a duration'),
        ({"id": ["("]}, InvalidParameter, "error parsing regexp"),
    ],
)
def test_filters_that_mean_nothing(filters, error, message):
    with pytest.raises(error, match=message):
        selector_of(Filters(filters)), unused_since(Filters(filters))


def test_what_images_have_is_no_part_of_what_may_stay():
    cache = FakeCache("a", "b", "c")
    cache.held = {"a", "b"}
    assert prune(cache, ALL, all=False, space=CacheSpace(reserved=10)).caches_deleted == []
    assert prune(cache, ALL, all=False, space=CacheSpace(reserved=9)).caches_deleted == ["2"]


@pytest.mark.parametrize(
    ("space", "free", "gone"),
    [
        (CacheSpace(max_used=15), 0, 2),
        (CacheSpace(min_free=5), 5, 0),
        (CacheSpace(min_free=15), 5, 1),
        (CacheSpace(min_free=95), 5, 3),
        (CacheSpace(min_free=95, reserved=20), 5, 1),
        (CacheSpace(min_free=5, max_used=20), 5, 1),
        (CacheSpace(min_free=20, max_used=20), 0, 2),
    ],
)
def test_how_much_may_stay(space, free, gone):
    cache = FakeCache("a", "b", "c")
    report = prune(cache, ALL, all=True, space=space, free_bytes=lambda: free)
    assert len(report.caches_deleted) == gone
