"""Is a create request possible at all? Docker's checks with Docker's texts.

Source: behaviour and messages of dockerd 26.1; Engine API 1.51.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import msgspec

from corten.engine.containers.healthtests import validate_health
from corten.engine.containers.namespaces import container_mode, validate_modes
from corten.engine.containers.process import rlimits
from corten.engine.containers.resources import parse_device_rule
from corten.engine.containers.security import effective_capabilities, parse_security_opt
from corten.engine.containers.validate_network import is_word, validate_network
from corten.errors import Conflict, InvalidParameter
from corten.linux.capabilities import NAMES
from corten.types.container import ContainerConfig, HostConfig

MIN_MEMORY_BYTES = 6 << 20
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_CPU = re.compile(r"[0-9]{1,9}")
_SYSCTL = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)*")
_RESTART = ("no", "always", "on-failure", "unless-stopped")
_NAMESPACED_SYSCTLS = frozenset(
    {
        *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"),
        *("kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"),
    }
)


def validate_name(name: str) -> str:
    """The name without its slash. Raises InvalidParameter."""
    bare = name.removeprefix("/")
    if not _NAME.fullmatch(bare):
        raise InvalidParameter(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def name_conflict(name: str, container_id: str) -> Conflict:
    """What the second owner of a name is told."""
    return Conflict(
        f'Conflict. The container name "/{name}" is already in use by container "{container_id}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


def validate(config: ContainerConfig, host_config: HostConfig) -> list[str]:
    """Check everything that needs nothing but the request; returns warnings.

    Raises InvalidParameter for the first thing wrong, NotSupported for what Corten does not do.
    """
    warnings: list[str] = []
    for check in _CHECKS:
        check(config, host_config, warnings)
    return warnings


def validate_update(request: HostConfig) -> list[str]:
    """As `validate`, for limits and restart policy only."""
    warnings: list[str] = []
    config = ContainerConfig()
    if not request.memory:  # the swap limit is then relative to the one that the container has
        request = msgspec.structs.replace(request, memory_swap=0)
    for check in (_restart, _memory, _cpu, _block_io):
        check(config, request, warnings)
    return warnings


def _process(config: ContainerConfig, host_config: HostConfig, warnings: list[str]) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidParameter(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )
    for entry in config.env or ():
        if not entry or entry.startswith("="):
            raise InvalidParameter(f"invalid environment variable: {entry}")
    for name in (config.hostname, config.domainname):
        if not is_word(name):
            raise InvalidParameter(f"invalid hostname format: {name!r}")
    if config.stop_timeout is not None and config.stop_timeout < -1:
        raise InvalidParameter(f"invalid stop timeout: {config.stop_timeout}")
    rlimits(host_config.ulimits or (), {})
    validate_health(config)


def _restart(config: ContainerConfig, host_config: HostConfig, warnings: list[str]) -> None:
    policy = host_config.restart_policy
    if policy.name and policy.name not in _RESTART:
        raise InvalidParameter(
            f"invalid restart policy: unknown policy '{policy.name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if policy.maximum_retry_count < 0:
        raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")
    if policy.maximum_retry_count and policy.name != "on-failure":
        raise InvalidParameter(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if host_config.auto_remove and policy.name not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")


def _namespaces(config: ContainerConfig, host_config: HostConfig, warnings: list[str]) -> None:
    validate_modes(host_config)
    if host_config.uts_mode == "host" and config.hostname:
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    shares_ipc = host_config.ipc_mode == "host" or container_mode(host_config.ipc_mode)
    for name in host_config.sysctls or ():
        if not _SYSCTL.fullmatch(name):  # "//" would become ".." in a path: net.//.kernel.core_pattern
            raise InvalidParameter(f"sysctl '{name}' is not allowed")
        if name.startswith("net."):
            if host_config.network_mode == "host":
                raise InvalidParameter(f"sysctl '{name}' not allowed in host network namespace")
        elif name in _NAMESPACED_SYSCTLS or name.startswith("fs.mqueue."):
            if shares_ipc:
                raise InvalidParameter(f"sysctl '{name}' not allowed in host ipc namespace")
        elif name not in ("kernel.domainname", "kernel.hostname"):
            raise InvalidParameter(f"sysctl '{name}' is not allowed")


def _security(config: ContainerConfig, host_config: HostConfig, warnings: list[str]) -> None:
    effective_capabilities(host_config, NAMES)
    parse_security_opt(host_config.security_opt)
    if host_config.isolation not in ("", "default"):
        raise InvalidParameter(f"invalid isolation ({host_config.isolation}): linux only supports 'default'")
    if ".." in host_config.cgroup_parent.split("/"):
        raise InvalidParameter(f"invalid cgroup parent: {host_config.cgroup_parent}")
    for rule in host_config.device_cgroup_rules or ():
        parse_device_rule(rule)
    if not -1000 <= host_config.oom_score_adj <= 1000:
        raise InvalidParameter(
            f"Invalid value {host_config.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    if host_config.shm_size < 0:
        raise InvalidParameter("SHM size can not be less than 0")
    if "" in (host_config.annotations or ()):
        raise InvalidParameter("invalid Annotations: the empty string is not permitted as an annotation key")
    if "" in (host_config.volumes_from or ()):
        raise InvalidParameter("volumes-from specification cannot be an empty string")
    if host_config.volumes_from and any(entry.count(":") > 1 for entry in host_config.volumes_from):
        raise InvalidParameter(f"invalid volumes-from: {host_config.volumes_from}")


def _memory(config: ContainerConfig, host_config: HostConfig, warnings: list[str]) -> None:
    memory, swap = host_config.memory, host_config.memory_swap
    reservation, swappiness = host_config.memory_reservation, host_config.memory_swappiness
    if memory != 0 and memory < MIN_MEMORY_BYTES:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0:
        raise InvalidParameter(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidParameter(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if reservation != 0 and reservation < MIN_MEMORY_BYTES:
        raise InvalidParameter("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise InvalidParameter(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    if host_config.oom_kill_disable and memory == 0:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )


def _cpu(config: ContainerConfig, host_config: HostConfig, warnings: list[str]) -> None:
    nano, period, quota = host_config.nano_cpus, host_config.cpu_period, host_config.cpu_quota
    if nano > 0 and period > 0:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if nano > 0 and quota > 0:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if nano:
        count = os.cpu_count() or 1
        if not 0 < nano <= count * 1_000_000_000:
            raise InvalidParameter(
                f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
            )
    if host_config.cpu_shares < 0:
        raise InvalidParameter(
            "shares: invalid argument"  # what the kernel's answer became in dockerd 26.1
        )
    if period != 0 and not 1_000 <= period <= 1_000_000:
        raise InvalidParameter(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < quota < 1_000:
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if 0 < host_config.cpu_realtime_period < host_config.cpu_realtime_runtime:
        raise InvalidParameter("cpu real-time runtime cannot be higher than cpu real-time period")
    _cpuset("cpuset cpus", host_config.cpuset_cpus, "/sys/devices/system/cpu/online", "CPUs")
    _cpuset("cpuset mems", host_config.cpuset_mems, "/sys/devices/system/node/online", "memory nodes")


def _cpuset(option: str, given: str, available_path: str, noun: str) -> None:
    if not given:
        return
    wanted = parse_cpu_list(given)
    if wanted is None:
        raise InvalidParameter(f"Invalid value {given} for {option}: invalid format: {given}")
    try:
        with open(available_path) as file:
            text = file.read().strip()
    except OSError:
        text = "0"
    if not wanted <= (parse_cpu_list(text) or set()):
        raise InvalidParameter(f"Requested {noun} are not available - requested {given}, available: {text}")


def parse_cpu_list(text: str) -> set[int] | None:
    """The list format of cpuset(7), "0-2,7"; None if it is malformed or absurdly large."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not _CPU.fullmatch(first) or (dash and not _CPU.fullmatch(last)):
            return None
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high > 8192:
            return None
        found.update(range(low, high + 1))
    return found


def _block_io(config: ContainerConfig, host_config: HostConfig, warnings: list[str]) -> None:
    weights = [host_config.blkio_weight, *(item.weight for item in host_config.blkio_weight_device or ())]
    if any(weight and not 10 <= weight <= 1000 for weight in weights):
        raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    if host_config.io_maximum_bandwidth:
        raise InvalidParameter(
            "invalid option: QoS maximum bandwidth configuration is not supported on linux"
        )
    if host_config.io_maximum_iops:
        raise InvalidParameter("invalid option: QoS maximum IOPs configuration is not supported on linux")


_Check = Callable[[ContainerConfig, HostConfig, list[str]], None]
_CHECKS: tuple[_Check, ...] = (
    _process,
    _restart,
    validate_network,
    _namespaces,
    _security,
    _memory,
    _cpu,
    _block_io,
)
