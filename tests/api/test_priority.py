"""The engine's event loop gets the processor first, and nothing that the engine starts does."""

import os
from pathlib import Path

NICE = ("busybox", "cut", "-d ", "-f19", "/proc/self/stat")


def _nice(thread):
    return int((thread / "stat").read_text().rpartition(")")[2].split()[16])


def _threads_of_processes(engine):
    """And their nice values, of all that the engine has started but for containers."""
    namespace = os.readlink(f"/proc/{engine.sandbox.pid}/ns/pid")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "ns/pid") == namespace:
                yield from ((thread, _nice(thread)) for thread in (process / "task").iterdir())
        except OSError:  # it has ended meanwhile
            pass


def test_only_the_loop_is_preferred(api, engine):  # api: has made the engine unpack an image by workers
    seen = dict(_threads_of_processes(engine))
    loop = seen.pop(Path(f"/proc/{engine.pid}/task/{engine.pid}"))
    assert loop < 0
    assert len(seen) > 3, "supervisor, log writer, janitor at least"
    assert set(seen.values()) == {0}


def test_containers_and_what_runs_in_them_are_not(api, engine):
    assert api.output(*NICE)[1] == "0\n"
    identifier = api.start("sleep", "100")
    for _ in range(2):  # the second is made by the nursery
        assert engine.run("docker", "exec", identifier, *NICE).stdout == "0\n"
