"""Limits and devices of config.json."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from corten.errors import InvalidParameter
from corten.oci import runtime_spec as oci
from corten.types.container import DeviceMapping, HostConfig, ThrottleDevice

CPU_PERIOD_US = 100_000


def _rule(
    allow: bool, kind: str, major: int | None, minor: int | None, access: str = "rwm"
) -> oci.DeviceRule:
    return oci.DeviceRule(allow=allow, type=kind, major=major, minor=minor, access=access)


_DENY_ALL = oci.DeviceRule(allow=False, access="rwm")
_ALLOW_ALL = oci.DeviceRule(allow=True, access="rwm")
# Nodes may be made (mknod) but only these used: null zero full random urandom tty console ptmx pts.
_DEFAULT_RULES = [
    _DENY_ALL,
    _rule(True, "c", None, None, "m"),
    _rule(True, "b", None, None, "m"),
    *(_rule(True, "c", 1, minor) for minor in (3, 5, 7, 8, 9)),
    *(_rule(True, "c", 5, minor) for minor in (0, 1, 2)),
    _rule(True, "c", 136, None),
]
_PLAIN = oci.Resources(devices=_DEFAULT_RULES)


def build_resources(host_config: HostConfig, devices: Sequence[tuple[oci.Device, str]]) -> oci.Resources:
    """The cgroup's settings. devices: (node, access) of `--device`."""
    h = host_config
    if h.privileged:
        rules = [_ALLOW_ALL]
    elif devices or h.device_cgroup_rules:
        rules = [*_DEFAULT_RULES]
        rules += [_rule(True, node.type, node.major, node.minor, access) for node, access in devices]
        rules += [parse_device_rule(rule) for rule in h.device_cgroup_rules or ()]
    else:
        rules = _DEFAULT_RULES
    memory, cpu, block_io = _memory(h), _cpu(h), _block_io(h)
    pids = oci.Pids(limit=h.pids_limit) if h.pids_limit else None
    if rules is _DEFAULT_RULES and not (memory or cpu or block_io or pids):
        return _PLAIN
    return oci.Resources(devices=rules, memory=memory, cpu=cpu, block_io=block_io, pids=pids)


def _memory(h: HostConfig) -> oci.Memory | None:
    swap = h.memory_swap
    if h.memory > 0 and swap == 0:
        swap = 2 * h.memory  # as Docker: memory and swap together twice the memory
    disable = True if h.oom_kill_disable else None
    if not (h.memory or h.memory_reservation or swap or disable or h.memory_swappiness is not None):
        return None
    swappiness = h.memory_swappiness if h.memory_swappiness is not None and h.memory_swappiness >= 0 else None
    return oci.Memory(
        limit=h.memory or None,
        reservation=h.memory_reservation or None,
        swap=swap or None,
        swappiness=swappiness,
        disable_oom_killer=disable,
    )


def _cpu(h: HostConfig) -> oci.Cpu | None:
    quota, period = h.cpu_quota, h.cpu_period
    if h.nano_cpus:
        period = CPU_PERIOD_US
        quota = h.nano_cpus * period // 1_000_000_000
    realtime = h.cpu_realtime_period or h.cpu_realtime_runtime
    if not (h.cpu_shares or quota or period or realtime or h.cpuset_cpus or h.cpuset_mems):
        return None
    return oci.Cpu(
        shares=h.cpu_shares or None,
        quota=quota or None,
        period=period or None,
        realtime_period=h.cpu_realtime_period or None,
        realtime_runtime=h.cpu_realtime_runtime or None,
        cpus=h.cpuset_cpus,
        mems=h.cpuset_mems,
    )


def _block_io(h: HostConfig) -> oci.BlockIO | None:
    lists = (
        h.blkio_device_read_bps,
        h.blkio_device_write_bps,
        h.blkio_device_read_iops,
        h.blkio_device_write_iops,
    )
    if not (h.blkio_weight or h.blkio_weight_device or any(lists)):
        return None
    read_bps, write_bps, read_iops, write_iops = ([_throttle(item) for item in some or ()] for some in lists)
    weights = []
    for item in h.blkio_weight_device or ():
        major, minor = _device_numbers(item.path)
        weights.append(oci.WeightDevice(major=major, minor=minor, weight=item.weight))
    return oci.BlockIO(
        weight=h.blkio_weight or None,
        weight_device=weights,
        throttle_read_bps_device=read_bps,
        throttle_write_bps_device=write_bps,
        throttle_read_iops_device=read_iops,
        throttle_write_iops_device=write_iops,
    )


def _throttle(item: ThrottleDevice) -> oci.ThrottleDevice:
    major, minor = _device_numbers(item.path)
    return oci.ThrottleDevice(major=major, minor=minor, rate=item.rate)


def _device_numbers(path: str) -> tuple[int, int]:
    try:
        device = os.stat(path).st_rdev
    except OSError as e:
        raise InvalidParameter(f"stat {path}: {(e.strerror or '').lower()}") from e
    return os.major(device), os.minor(device)


def host_devices(mappings: Sequence[DeviceMapping]) -> list[tuple[oci.Device, str]]:
    """`--device`: nodes with the access they are given; a directory stands for all nodes below it."""
    found: list[tuple[oci.Device, str]] = []
    for mapping in mappings:
        target = mapping.path_in_container or mapping.path_on_host
        access = mapping.cgroup_permissions or "rwm"
        if os.path.isdir(mapping.path_on_host):
            for directory, _, names in os.walk(mapping.path_on_host):
                inside = target + directory[len(mapping.path_on_host) :]
                for name in names:
                    node = _node(os.path.join(directory, name), os.path.join(inside, name))
                    if node is not None:
                        found.append((node, access))
            continue
        node = _node(mapping.path_on_host, target)
        if node is None:
            raise InvalidParameter(
                f'error gathering device information while adding custom device "{mapping.path_on_host}": '
                "not a device node"
            )
        found.append((node, access))
    return found


def all_host_devices() -> list[oci.Device]:
    """Every node below /dev, for --privileged; terminals and what has its own mount are left out."""
    skipped = {"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"}
    nodes = []
    for directory, directories, names in os.walk("/dev"):
        directories[:] = [name for name in directories if name not in skipped]
        for name in names:
            path = os.path.join(directory, name)
            node = _node(path, path) if name != "console" and not os.path.islink(path) else None
            if node is not None:
                nodes.append(node)
    return nodes


def _node(source: str, target: str) -> oci.Device | None:
    try:
        status = os.stat(source)
    except FileNotFoundError as e:
        raise InvalidParameter(
            f'error gathering device information while adding custom device "{source}": '
            "no such file or directory"
        ) from e
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    return oci.Device(
        path=target,
        type=kind,
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        file_mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )


def parse_device_rule(rule: str) -> oci.DeviceRule:
    """`--device-cgroup-rule 'c 1:* rwm'`. Raises InvalidParameter."""
    words = rule.split(" ")
    if len(words) == 3 and words[0] in ("a", "b", "c") and set(words[2]) <= set("rwm") and words[2]:
        major, colon, minor = words[1].partition(":")
        if colon and all(part == "*" or (part.isascii() and part.isdigit()) for part in (major, minor)):
            return _rule(
                True,
                words[0],
                None if major == "*" else int(major),
                None if minor == "*" else int(minor),
                words[2],
            )
    raise InvalidParameter(f"invalid device cgroup rule format: '{rule}'")
