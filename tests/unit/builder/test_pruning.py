"""Which entries of the build cache go."""

import pytest

from corten.builder.cache import CacheEntry
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


@pytest.mark.parametrize(("all_of_them", "left"), [(True, []), (False, ["a"])])
def test_layers_of_images_are_kept_unless_all_are_asked_for(all_of_them, left):
    cache = FakeCache("a", "b")
    cache.held = {"a"}
    assert prune(cache, Filters(), all=all_of_them, keep_bytes=0).space_reclaimed == 10
    assert [entry.diff_id for entry in cache.kept] == left
