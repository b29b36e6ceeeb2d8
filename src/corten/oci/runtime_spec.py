"""The OCI runtime specification's config.json (1.2), as far as a Linux runtime reads it.

Source: opencontainers/runtime-spec v1.2, config.md and config-linux.md; the JSON schemas are
in specs/oci-runtime. Names on the wire are camelCase, absent means default, so empty members are
left out. Structs are values: build them once, share them, never change them.
"""

from __future__ import annotations

import msgspec

VERSION = "1.2.0"


class _Document(msgspec.Struct, rename="camel", omit_defaults=True):
    """Base: camelCase on the wire, defaults left out."""


class User(_Document):
    """Ids of the process inside the container; `umask` None leaves the runtime's (0022)."""

    # uid and gid are required members and are written even when 0
    uid: int | None = None
    gid: int | None = None
    umask: int | None = None
    additional_gids: list[int] | None = None
    username: str = ""


class Box(_Document):
    """Size of a console in characters."""

    height: int
    width: int


class Rlimit(_Document):
    """A POSIX resource limit; `type` is RLIMIT_NOFILE, ... ."""

    type: str
    hard: int
    soft: int


class Capabilities(_Document):
    """The five capability sets, as CAP_ names."""

    bounding: list[str] = []
    effective: list[str] = []
    permitted: list[str] = []
    inheritable: list[str] = []
    ambient: list[str] = []


class Process(_Document):
    """What is executed, as whom, with which limits."""

    user: User
    args: list[str]
    cwd: str
    env: list[str] = []
    terminal: bool = False
    console_size: Box | None = None
    capabilities: Capabilities | None = None
    rlimits: list[Rlimit] = []
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    oom_score_adj: int | None = None
    selinux_label: str = ""


class Root(_Document):
    """The root file system; relative paths are under the bundle."""

    path: str
    readonly: bool = False


class IDMapping(_Document):
    """A range of ids inside (container) and outside (host)."""

    container_id: int = msgspec.field(name="containerID")
    host_id: int = msgspec.field(name="hostID")
    size: int


class Mount(_Document):
    """One mount, in fstab's words: options mix flags, propagation and file system data."""

    destination: str
    type: str = ""
    source: str = ""
    options: list[str] = []
    uid_mappings: list[IDMapping] = []
    gid_mappings: list[IDMapping] = []


class Namespace(_Document):
    """A namespace to be made, or joined when `path` is given."""

    type: str
    path: str = ""


class Device(_Document):
    """A device node to be made; `file_mode` is the permission bits as a number."""

    path: str
    type: str
    major: int = -1
    minor: int = -1
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class DeviceRule(_Document):
    """One line of the device cgroup's list; major or minor None = any."""

    allow: bool | None = None  # required member: always written
    type: str = ""
    major: int | None = None
    minor: int | None = None
    access: str = ""


class Memory(_Document):
    """Limits in bytes; -1 = unlimited."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool | None = msgspec.field(name="disableOOMKiller", default=None)


class Cpu(_Document):
    """`quota`, `period` and the realtime pair in microseconds; `cpus`, `mems` in list format."""

    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""


class Pids(_Document):
    """The largest number of tasks; -1 = unlimited."""

    limit: int


class WeightDevice(_Document):
    """Weight (10..1000) of one block device."""

    major: int
    minor: int
    weight: int | None = None


class ThrottleDevice(_Document):
    """Rate of one block device, per second."""

    major: int
    minor: int
    rate: int


class BlockIO(_Document):
    """Weights and throttles of block devices."""

    weight: int | None = None
    weight_device: list[WeightDevice] = []
    throttle_read_bps_device: list[ThrottleDevice] = []
    throttle_write_bps_device: list[ThrottleDevice] = []
    throttle_read_iops_device: list[ThrottleDevice] = msgspec.field(
        name="throttleReadIOPSDevice", default_factory=list
    )
    throttle_write_iops_device: list[ThrottleDevice] = msgspec.field(
        name="throttleWriteIOPSDevice", default_factory=list
    )


class Resources(_Document):
    """What the container's cgroup is set to."""

    devices: list[DeviceRule] = []
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = msgspec.field(name="blockIO", default=None)
    unified: dict[str, str] = {}


class SyscallArg(_Document):
    """A condition on one argument of a system call."""

    index: int
    value: int
    op: str
    value_two: int = 0


class Syscall(_Document):
    """What to answer to the named system calls."""

    names: list[str]
    action: str
    errno_ret: int | None = None
    args: list[SyscallArg] = []


class Seccomp(_Document):
    """A system call filter."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] = []
    flags: list[str] = []
    syscalls: list[Syscall] = []


class Linux(_Document):
    """The Linux part: namespaces, cgroup, masks."""

    namespaces: list[Namespace] = []
    uid_mappings: list[IDMapping] = []
    gid_mappings: list[IDMapping] = []
    devices: list[Device] = []
    cgroups_path: str = ""
    resources: Resources | None = None
    rootfs_propagation: str = ""
    seccomp: Seccomp | None = None
    sysctl: dict[str, str] = {}
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    mount_label: str = ""


class Spec(_Document):
    """A whole config.json."""

    # required members, so never equal to their default
    oci_version: str | None = None
    process: Process | None = None
    root: Root | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: list[Mount] = []
    linux: Linux | None = None
    annotations: dict[str, str] = {}


_encoder = msgspec.json.Encoder()


def encode(document: Spec | Process | Resources) -> bytes:
    """The document as JSON."""
    return _encoder.encode(document)
