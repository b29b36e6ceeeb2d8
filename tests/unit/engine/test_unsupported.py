from corten.engine.containers.unsupported import _NEEDS, Unsupported
from corten.types.container import HostConfig

ALL = dict.fromkeys(_NEEDS, True)


def test_what_the_kernel_can_keep_stays():
    wanted = HostConfig(memory=1 << 30, blkio_weight=500, pids_limit=5)
    assert Unsupported(ALL).discard(wanted) == (wanted, [])


def test_what_it_cannot_keep_is_dropped_and_said():
    wanted = HostConfig(memory=1 << 30, blkio_weight=500, memory_swappiness=-1)
    found, warnings = Unsupported(ALL | {"BlkioWeight": False, "MemorySwappiness": False}).discard(wanted)
    assert (found.memory, found.blkio_weight) == (1 << 30, 0)
    assert warnings == [
        "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
    ]


def test_on_version_2_the_killer_cannot_be_switched_off():
    found, warnings = Unsupported(ALL | {"OomKillDisable": False}).discard(HostConfig(oom_kill_disable=True))
    assert found.oom_kill_disable is None
    assert warnings == ["Your kernel does not support OomKillDisable. OomKillDisable discarded."]
