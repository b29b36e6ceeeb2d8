"""`docker update`: other limits, restart policy and published ports for a container that may be running.

Source: behaviour and texts of dockerd 26.1. A zero leaves a limit as it is.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from corten.engine.containers import republish
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.resources import build_resources
from corten.engine.containers.state import Status
from corten.engine.containers.unsupported import Unsupported
from corten.engine.containers.validate import validate_update
from corten.errors import Conflict, CortenError, InternalError, InvalidParameter
from corten.oci import runtime_spec as oci
from corten.types.container import HostConfig, UpdateRequest, UpdateResponse

log = logging.getLogger(__name__)

# What is taken over if it is not zero; the rest of the request is not looked at.
_LIMITS = (
    *("blkio_weight", "cpu_shares", "nano_cpus", "cpu_period", "cpu_quota", "cpuset_cpus", "cpuset_mems"),
    *("cpu_realtime_period", "cpu_realtime_runtime", "memory", "memory_swap", "memory_reservation"),
)


class Updater:
    """`update`: the ledger first, then the kernel; what the kernel refuses is taken back."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._unsupported = Unsupported(context.cgroups.features())

    async def update(self, container: Container, request: UpdateRequest) -> UpdateResponse:
        """See `corten.api.routes.containers.Containers.update`."""
        possible, warnings = self._unsupported.discard(request)
        warnings += validate_update(possible)
        async with container.lock:
            try:
                if container.status in (Status.REMOVING, Status.DEAD):
                    raise Conflict("container is marked for removal and cannot be updated")
                async with republish.republished(self._context, container, request):
                    await self._replace(container, merged(container.record.host_config, possible), warnings)
            except CortenError as e:
                raise type(e)(f"Cannot update container {container.id}: {e}") from e
        self._context.publish(container, "update")
        return UpdateResponse(warnings=warnings or None)

    async def _replace(self, container: Container, wanted: HostConfig, warnings: list[str]) -> None:
        before = container.record.host_config
        self._save(container, wanted)
        try:
            if container.status.is_running() and wanted != before:
                warnings += await asyncio.to_thread(self._apply, container.cgroup, wanted)
        except (OSError, InvalidParameter) as e:
            self._save(container, before)
            raise InternalError(_text(e)) from e

    def _save(self, container: Container, host_config: HostConfig) -> None:
        container.record.host_config = host_config
        self._context.store.save_record(container)

    def _apply(self, cgroup: str, host_config: HostConfig) -> list[str]:
        resources = msgspec.structs.replace(build_resources(host_config, ()), devices=[])
        return self._context.cgroups.apply(cgroup, msgspec.json.decode(oci.encode(resources)))


def merged(current: HostConfig, request: HostConfig) -> HostConfig:
    """The host configuration with what the request changes. Raises Conflict for what contradicts it."""
    nano, period, quota = request.nano_cpus, request.cpu_period, request.cpu_quota
    conflicts = (
        (nano and current.cpu_period, "Nano CPUs cannot be updated as CPU Period"),
        (nano and current.cpu_quota, "Nano CPUs cannot be updated as CPU Quota"),
        (period and current.nano_cpus, "CPU Period cannot be updated as NanoCPUs"),
        (quota and current.nano_cpus, "CPU Quota cannot be updated as NanoCPUs"),
    )
    for both, text in conflicts:
        if both:
            raise Conflict(f"Conflicting options: {text} has already been set")
    unlimited_swap = current.memory_swap == -1
    if request.memory > current.memory_swap and not request.memory_swap and not unlimited_swap:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time"
        )
    changes = {name: value for name in _LIMITS if (value := getattr(request, name))}
    if request.pids_limit is not None:
        changes["pids_limit"] = request.pids_limit
    policy = request.restart_policy
    if policy.name:
        if current.auto_remove and policy.name != "no":
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        changes["restart_policy"] = policy
    return msgspec.structs.replace(current, **changes)


def _text(error: OSError | InvalidParameter) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return str(error)
