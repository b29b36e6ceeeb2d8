"""Which entries of the build cache go."""

import pytest

from corten.builder.cache import CacheEntry
from corten.builder.cachemounts import MountEntry
from corten.builder.pruning import prune
from corten.filters import Filters


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
                description="",
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
    report = prune(cache, Filters(), all=True, keep_bytes=15)
    assert [entry.diff_id for entry in cache.kept] == ["b"]
    assert report.space_reclaimed == 10


def test_a_label_is_on_nothing():
    cache = FakeCache("a")
    assert prune(cache, Filters({"label": ["x"]}), all=True, keep_bytes=0).caches_deleted == []
    assert prune(cache, Filters({"label!": ["x"]}), all=True, keep_bytes=0).caches_deleted == ["0"]


@pytest.mark.parametrize(("all_of_them", "left"), [(True, []), (False, ["a"])])
def test_layers_of_images_are_kept_unless_all_are_asked_for(all_of_them, left):
    cache = FakeCache("a", "b")
    cache.held = {"a"}
    assert prune(cache, Filters(), all=all_of_them, keep_bytes=0).space_reclaimed == 10
    assert [entry.diff_id for entry in cache.kept] == left


def mount(identifier, used_ns, *, in_use=False):
    return MountEntry(id=identifier, description="", created_ns=0, used_ns=used_ns, size=7, in_use=in_use)


def test_cache_mounts_go_in_their_turn_unless_they_are_in_use():
    cache = FakeCache("a", "b")  # used at 0 and 1
    mounts = [mount("busy", -2, in_use=True), mount("old", -1), mount("new", 5)]
    report = prune(cache, Filters(), all=True, keep_bytes=25, mounts=mounts)
    assert report.caches_deleted == ["0", "old"]
    assert report.space_reclaimed == 17


@pytest.mark.parametrize(("kind", "gone"), [("exec.cachemount", ["m"]), ("regular", ["0"]), ("frontend", [])])
def test_records_are_chosen_by_type(kind, gone):
    filters = Filters({"type": [kind]})
    report = prune(FakeCache("a"), filters, all=True, keep_bytes=0, mounts=[mount("m", 3)])
    assert report.caches_deleted == gone
