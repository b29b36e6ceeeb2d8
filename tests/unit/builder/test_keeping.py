"""How much of the build cache is kept."""

from corten.builder.cachemounts import MountEntry
from corten.builder.keeping import KeepRule, keep
from corten.types.operations import CacheSpace


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


def reserving(size):
    return KeepRule(space=CacheSpace(reserved=size))


def mount(identifier, used_ns, **more):
    return MountEntry(
        id=identifier, description="", created_ns=0, used_ns=used_ns, size=10, **{"in_use": False, **more}
    )


def test_cache_mounts_count_and_go_the_longest_unused_first():
    mounts = [mount("old", 1), mount("busy", 2, in_use=True), mount("new", 3)]
    assert keep(NoLayers(), [reserving(30)], mounts) == set()
    assert keep(NoLayers(), [reserving(25)], mounts) == {"old"}
    assert keep(NoLayers(), [reserving(25), reserving(5)], mounts) == {"old", "new"}
