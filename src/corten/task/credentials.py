"""Giving up power, in the one order in which it works.

    session keyring         a new one: the launcher's may hold somebody's keys
    rlimits                 while CAP_SYS_RESOURCE is still there
    bounding set            PR_CAPBSET_DROP needs CAP_SETPCAP
    seccomp                 needs CAP_SYS_ADMIN, unless no_new_privs is set; then it comes last
    groups, gid, uid        with PR_SET_KEEPCAPS, or leaving uid 0 would drop all capabilities
    not dumpable            again: by new ids the memory has become what fs.suid_dumpable says
    capability sets         what the process shall have and no more

Source: capabilities(7), seccomp(2), runtime-spec config.md "Process".
"""

from __future__ import annotations

import os
import stat

from corten.linux import capabilities, keyrings, rlimits, seccomp
from corten.linux.syscalls import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_UNSUPPORTED = ("scheduler", "ioPriority", "execCPUAffinity")


def own_stdio(fds: Iterable[int], uid: int) -> None:
    """Give pipes to `uid`, who may want to open /dev/stdout. Devices stay whose they are. Raises OSError."""
    for fd in fds:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, uid, -1)


def check_supported(process: dict[str, Any]) -> None:
    """Refuse what a document asks for and we would silently not do. Raises OSError(EOPNOTSUPP)."""
    for key in _UNSUPPORTED:
        if process.get(key):
            raise OSError(95, f"process.{key} is not supported by Corten yet", key)


def write_oom_score_adj(process: dict[str, Any]) -> None:
    """Lowering it needs CAP_SYS_RESOURCE: without that, the inherited value stays, as in Docker's shim."""
    value = process.get("oomScoreAdj")
    if value is None:
        return
    try:
        _write("/proc/self/oom_score_adj", str(value))
    except PermissionError:
        pass


def set_labels(process: dict[str, Any]) -> None:
    """AppArmor profile and SELinux label that execve(2) shall switch to. Needs the host's /proc."""
    profile = process.get("apparmorProfile")
    if profile and profile != "unconfined":
        path = "/proc/self/attr/apparmor/exec"
        if not os.path.exists(path):
            path = "/proc/self/attr/exec"
        _write(path, f"exec {profile}")
    label = process.get("selinuxLabel")
    if label:
        _write("/proc/self/attr/exec", label)


def _write(path: str, text: str) -> None:
    # Not open(): in a fresh child its layers of buffers and codecs cost some 40 page faults.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def apply(process: dict[str, Any], seccomp_program: bytes | None, seccomp_flags: int = 0) -> None:
    """Make the calling process what `process` (OCI) describes, in user, groups, limits and rights."""
    keyrings.leave_session_keyring()
    user = process.get("user") or {}
    caps = process.get("capabilities")
    no_new_privs = bool(process.get("noNewPrivileges"))
    limits = process.get("rlimits")
    if limits:
        rlimits.set_rlimits(limits)
    if caps is not None:
        capabilities.drop_bounding(capabilities.mask_of(caps.get("bounding") or ()))
    if seccomp_program is not None and not no_new_privs:
        seccomp.load(seccomp_program, seccomp_flags)
    capabilities.keep_on_setuid(keep=True)
    os.setgroups(user.get("additionalGids") or [])
    gid, uid = user.get("gid", 0), user.get("uid", 0)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    prctl(PR_SET_DUMPABLE, 0)
    capabilities.keep_on_setuid(keep=False)
    if caps is not None:
        capabilities.set_capabilities(
            capabilities.mask_of(caps.get("effective") or ()),
            capabilities.mask_of(caps.get("permitted") or ()),
            capabilities.mask_of(caps.get("inheritable") or ()),
        )
        ambient = caps.get("ambient")
        if ambient:
            capabilities.set_ambient(capabilities.mask_of(ambient))
    umask = user.get("umask")
    os.umask(0o022 if umask is None else umask)
    if no_new_privs:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if seccomp_program is not None:
            seccomp.load(seccomp_program, seccomp_flags)
