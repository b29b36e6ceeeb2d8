"""Control groups, v1 and v2 behind one Protocol (`protocol.CgroupManager`).

`/corten/<id>` below every v1 hierarchy, or below the one v2 mount, is a container's cgroup; it belongs
to the container's ledger row and is removed with it. Nothing else in cgroupfs is ever changed, except
that on v2 the controllers of the parents are switched on.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.linux.cgroups.protocol import CgroupManager

_ROOT = "/sys/fs/cgroup"


def detect() -> str:
    """`v2` if /sys/fs/cgroup is a cgroup2 mount, otherwise `v1` (hybrid set-ups included)."""
    return "v2" if any(kind == "cgroup2" and point == _ROOT for point, kind, _ in _mounts()) else "v1"


def manager() -> CgroupManager:
    """A manager for this machine. Raises OSError."""
    mounts = _mounts()
    # A machine needs one of the two.
    if detect() == "v2":
        from corten.linux.cgroups.v2 import V2Manager

        return V2Manager(_ROOT)
    from corten.linux.cgroups.v1 import V1Manager

    return V1Manager(v1_mounts(mounts))


def v1_mounts(mounts: list[tuple[str, str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    """(mount point, controllers) of the v1 hierarchies below /sys/fs/cgroup, each once."""
    found: dict[tuple[str, ...], str] = {}
    for point, kind, options in mounts:
        if kind == "cgroup" and point.startswith(_ROOT + "/"):
            controllers = tuple(o for o in options.split(",") if o not in _NOT_CONTROLLERS and "=" not in o)
            named = tuple(o for o in options.split(",") if o.startswith("name="))
            if controllers or named:
                found.setdefault(controllers or named, point)
    return [(point, controllers) for controllers, point in found.items()]


_NOT_CONTROLLERS = frozenset({"rw", "ro", "noprefix", "xattr", "clone_children", "none", "cpuset_v2_mode"})


def _mounts() -> list[tuple[str, str, str]]:
    """(mount point, file system type, super block options) of /proc/self/mountinfo (proc(5))."""
    mounts = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            kind, _, options = right.rstrip("\n").split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                mounts.append((left.split(" ")[4], kind, options))
    return mounts
