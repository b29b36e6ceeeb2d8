"""Capabilities(7): names, Docker's default set, and the calls an init makes on its way to execve(2).

A set is an int mask, bit n = capability number n. Numbers and names: linux/capability.h (kernel 6.18).

What is asked for but not held is dropped silently, as Docker does when it runs inside a container:
a privileged container on a host whose root lacks CAP_SYS_RESOURCE simply lacks it too.
"""

from __future__ import annotations

import ctypes

from corten.errors import InvalidParameter
from corten.linux.syscalls import NR_CAPGET, NR_CAPSET, fail, libc, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
_BITS = {name: 1 << number for number, name in enumerate(NAMES)}

DOCKER_DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
"""What a container gets unless told otherwise, in the order Docker lists it."""

_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_AMBIENT_RAISE = 2
_AMBIENT_CLEAR_ALL = 4

# One header and one buffer for the life of the process: calls below are single-threaded by contract.
_header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
_data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; low words, then high words
_syscall = libc.syscall
_prctl = libc.prctl
_all = 0


def last_cap() -> int:
    """Number of the newest capability the running kernel knows."""
    return all_known().bit_length() - 1


def all_known() -> int:
    """Mask of the capabilities that both the running kernel and this table know. Read once."""
    global _all
    if not _all:
        known = 0
        for number in range(len(NAMES)):
            if _prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:  # EINVAL: newer than the kernel
                known |= 1 << number
        _all = known
    return _all


def normalize(name: str) -> str:
    """`chown`, `CHOWN`, `cap_chown` -> `CAP_CHOWN`; `all` -> `ALL`. Raises InvalidParameter."""
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else "CAP_" + upper
    if full not in _BITS:
        raise InvalidParameter(f'unknown capability: "{full}"')
    return full


def mask_of(names: Iterable[str]) -> int:
    """Mask of the named capabilities; `ALL` stands for all the kernel knows. Raises InvalidParameter."""
    mask = 0
    for name in names:
        bit = _BITS.get(name)
        if bit is None:
            full = normalize(name)
            bit = all_known() if full == "ALL" else _BITS[full]
        mask |= bit
    return mask


def names_of(mask: int) -> list[str]:
    """Names of the bits set in `mask`, by rising number."""
    return [name for name, bit in _BITS.items() if mask & bit]


def tweak(add: Iterable[str], drop: Iterable[str]) -> list[str]:
    """Docker's default set changed by `--cap-add` and `--cap-drop`, either of which may say ALL.

    Adding wins over dropping ALL; dropping wins over adding ALL. Raises InvalidParameter.
    """
    added = [normalize(name) for name in add]
    dropped = [normalize(name) for name in drop]
    if "ALL" in added:
        return [name for name in names_of(all_known()) if name not in dropped]
    if "ALL" in dropped:
        base: list[str] = []
    else:
        base = [name for name in DOCKER_DEFAULT if name not in dropped]
    return base + [name for name in dict.fromkeys(added) if name not in base]


def get_capabilities() -> tuple[int, int, int]:
    """capget(2) of this thread: effective, permitted, inheritable masks."""
    if _syscall(NR_CAPGET, _header, _data) < 0:
        fail("capget")
    low_e, low_p, low_i, high_e, high_p, high_i = _data
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def get_bounding() -> int:
    """Mask of this thread's bounding set."""
    mask = 0
    for number in range(last_cap() + 1):
        if _prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            mask |= 1 << number
    return mask


def drop_bounding(keep: int) -> None:
    """Take all but `keep` out of the bounding set (needs CAP_SETPCAP). Raises OSError."""
    drop = all_known() & ~keep
    number = 0
    while drop:
        if drop & 1 and _prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
            fail("prctl PR_CAPBSET_DROP " + NAMES[number])
        drop >>= 1
        number += 1


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of this thread, each set clipped to what the thread's permitted set still holds.

    To be called after `drop_bounding`; `inheritable` must lie within the bounding set. Raises OSError.
    """
    _, held, _ = get_capabilities()
    permitted &= held
    effective &= permitted
    inheritable &= held
    _data[0] = effective & 0xFFFFFFFF
    _data[1] = permitted & 0xFFFFFFFF
    _data[2] = inheritable & 0xFFFFFFFF
    _data[3] = effective >> 32
    _data[4] = permitted >> 32
    _data[5] = inheritable >> 32
    if _syscall(NR_CAPSET, _header, _data) < 0:
        fail("capset")


def set_ambient(mask: int) -> None:
    """Make the ambient set `mask`, clipped to permitted and inheritable. Raises OSError."""
    prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    if not mask:
        return
    _, permitted, inheritable = get_capabilities()
    mask &= permitted & inheritable
    for number in range(mask.bit_length()):
        if mask >> number & 1:
            prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number)


def keep_on_setuid(*, keep: bool) -> None:
    """PR_SET_KEEPCAPS: whether the permitted set survives the next setuid(2) away from root.

    The effective set is lost all the same: `set_capabilities` afterwards brings it back.
    """
    prctl(_PR_SET_KEEPCAPS, int(keep))
