"""Rehearsing a container's set-up, so that its code is warm when children inherit it.

CPython specialises bytecode as it runs (3.11 and later) and fills its caches. A container's init runs
its set-up once, in a fresh child: cold code, and every page that warming up writes to is copied. So the
supervisor runs the same code a few times itself, before its first child, in namespaces that it leaves
again: a tenth off the work of every start (measured side by side), for about 20 ms once.
"""

from __future__ import annotations

import os

from corten.linux import capabilities, loopback
from corten.linux import mounts as m
from corten.linux import namespaces as ns
from corten.linux.process import unblock_signals
from corten.task import init, program, rootfs
from corten.task.channel import SetupError
from corten.task.operations.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.linux.cgroups.protocol import CgroupManager

_ROUNDS = 12  # a function is specialised after its eighth call
_FLAGS = ["nosuid", "noexec", "nodev"]
_SPEC: dict[str, Any] = {
    "process": {"args": ["sh"], "cwd": "/", "env": ["PATH=/bin"]},
    "root": {"path": "/"},
    "hostname": "rehearsal",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": _FLAGS},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_FLAGS, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*_FLAGS, "ro"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": _FLAGS},
        {
            "destination": "/etc/hosts",
            "type": "bind",
            "source": "/dev/null",
            "options": ["rbind", "rprivate"],
        },
    ],
    "linux": {
        "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
        "maskedPaths": ["/proc/keys", "/proc/kcore", "/sys/firmware"],
        "readonlyPaths": ["/proc/bus", "/proc/sys"],
    },
}


def rehearse(mountpoint: str, cgroups: CgroupManager) -> None:
    """Build and leave a root file system at `mountpoint`, some rounds. Must precede the first child.

    A kernel that refuses some of it has cost us the warmth, nothing else.
    """
    kinds = ("mnt", "uts", "ipc", "net")
    home = [ns.open_namespace("self", kind) for kind in kinds]
    directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    umask = os.umask(0)
    try:
        for _ in range(_ROUNDS):
            ns.unshare(ns.CLONE_NEWNS | ns.CLONE_NEWUTS | ns.CLONE_NEWIPC | ns.CLONE_NEWNET)
            _round(mountpoint, cgroups)
    except (OSError, SetupError):
        pass
    finally:
        os.umask(umask)
        for fd in home:
            ns.setns(fd)
            os.close(fd)
        os.fchdir(directory)
        os.close(directory)


def _round(mountpoint: str, cgroups: CgroupManager) -> None:
    m.mount(None, "/", None, m.MS_REC | m.MS_PRIVATE)
    m.mount("tmpfs", mountpoint, "tmpfs", 0, "mode=755")
    root = Root()
    mounts, binds = rootfs.mount_operations(_SPEC, cgroups.hierarchies())
    for bind in binds:
        init.step(bind.describe(), bind.prepare)
    init.step("take the host's /dev/null", root.take_null)
    root.enter(mountpoint)
    try:
        init.apply_all(mounts, root)
        init.apply_all(rootfs.device_operations(_SPEC), root)
        init.apply_all(rootfs.protection_operations(_SPEC), root)
        os.close(root.directory("/work"))
        init.step("bring up loopback", loopback.up)
        capabilities.drop_bounding(capabilities.get_bounding())
        capabilities.mask_of(capabilities.DOCKER_DEFAULT)
        capabilities.keep_on_setuid(keep=False)
        capabilities.set_capabilities(*capabilities.get_capabilities())
        unblock_signals()
        init.change_directory("/")
        program.environment(["PATH=/bin", "HOSTNAME=x", "HOME=/root"])
        program.find("sh", "/usr/local/bin:/usr/bin:/bin")
        init.home_directory(0)
    finally:
        os.close(root.fd)
        os.close(root.null_fd)
