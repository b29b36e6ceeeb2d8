"""What is asked of a cgroup manager, whichever version the machine has.

A *path* names one cgroup below the mount point(s), such as `/corten/<id>`; parents are made on demand
and stay. *resources* is the OCI runtime-spec `linux.resources` document. Managers raise OSError
(errno, text, file) for what fails; what the kernel merely does not offer becomes a *warning*, a sentence
for the user, because Docker runs a container without the limit rather than not at all.

Managers keep the hierarchies' roots open. They belong to one single-threaded process; `join_self` may be
called in its forked children.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Protocol

    Resources = Mapping[str, Any]

    class CgroupManager(Protocol):
        """One machine's cgroups."""

        @property
        def version(self) -> str:
            """`v1` or `v2` (Docker's info leaves out the v)."""

        def create(self, path: str, resources: Resources) -> list[str]:
            """Make the cgroup and set its limits; returns warnings. On failure nothing is left behind."""

        def apply(self, path: str, resources: Resources) -> list[str]:
            """Change limits of a living cgroup; what `resources` leaves out stays. Returns warnings."""

        def join_self(self, path: str) -> None:
            """Move the calling process (single-threaded) into the cgroup."""

        def join(self, path: str, pid: int) -> None:
            """Move another process, with all its threads, into the cgroup."""

        def clone_fd(self, path: str) -> int | None:
            """A directory fd for CLONE_INTO_CGROUP, owned by the caller; None where that cannot work (v1)."""

        def freeze(self, path: str) -> None:
            """Stop every process; returns when they have stopped. EBUSY if they will not (they run on)."""

        def freezing(self, path: str) -> Iterator[float]:
            """As `freeze`, in steps (see `steps`). Not taken to the end it is undone by `thaw`."""

        def frozen(self, path: str) -> bool:
            """Whether it is frozen or about to be; False if it is gone."""

        def thaw(self, path: str) -> None:
            """Let them run again."""

        def kill_all(self, path: str) -> None:
            """SIGKILL every process in the cgroup and below it. Frozen ones are thawed to die."""

        def killing(self, path: str) -> Iterator[float]:
            """As `kill_all`, in steps (see `steps`)."""

        def pids(self, path: str) -> list[int]:
            """Processes in the cgroup and below it, in our own pid namespace's numbers; [] if it is gone."""

        def stats(self, path: str) -> dict[str, Any]:
            """cpu_stats, memory_stats, blkio_stats, pids_stats in the shape of Docker's stats document.

            Left to the caller: what is the host's (system_cpu_usage, online_cpus, a memory limit above
            the machine's memory), networks, and the previous sample. Times in ns, sizes in bytes.
            """

        def oom_watch(self, path: str) -> int:
            """An fd, owned by the caller, that turns readable when the cgroup runs out of memory.

            It may do so for other reasons too, such as removal: ask `oom_killed`.
            """

        def oom_killed(self, path: str) -> bool:
            """Whether the kernel has killed a process of this cgroup for memory. False if it is gone."""

        def remove(self, path: str) -> None:
            """Remove the cgroup and those below it. Fine if it is gone; EBUSY while processes live."""

        def exists(self, path: str) -> bool:
            """Whether the cgroup is there."""

        def children(self, path: str) -> list[str]:
            """Names of the cgroups right below `path`, for the sweep at start-up; [] if it is gone."""

        def hierarchies(self) -> list[tuple[str, str]]:
            """What a container mounts below /sys/fs/cgroup: (directory, mount options).

            v1: one `cgroup` mount each, such as ("memory", "memory"), ("systemd", "none,name=systemd"),
            ("cpu,cpuacct", "cpu,cpuacct"); v2: one `cgroup2` mount, ("", "").
            """

        def features(self) -> dict[str, bool]:
            """What limits work, by the names of Docker's info: MemoryLimit, SwapLimit, CpuCfsQuota, ..."""
