"""`corten update`."""

from __future__ import annotations

from corten.cli.command import UNLIMITED, Command
from corten.cli.container.ports import publish
from corten.cli.container.spec import restart_policy
from corten.cli.context import Context, out
from corten.cli.each import for_each
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# flag: field of the request
_FIELDS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "pids-limit": "PidsLimit",
}
_TEXTS = {"cpuset-cpus": "CpusetCpus", "cpuset-mems": "CpusetMems"}


def update(context: Context, options: Options, names: list[str]) -> int:
    """Change limits, restart policy and published ports of containers."""
    body: dict[str, Any] = {field: options.number(f) for f, field in _FIELDS.items() if options.given(f)}
    body |= {field: options[flag] for flag, field in _TEXTS.items() if options.given(flag)}
    if options.given("restart"):
        try:
            body["RestartPolicy"] = restart_policy(options["restart"])
        except ValueError as e:
            raise ExitError(str(e)) from e
    if items := options.items("publish-add"):
        body["PublishAdd"] = publish(items)
    if items := options.items("publish-rm"):
        body["PublishRemove"] = publish(items)
    if not body:
        raise ExitError("you must provide one or more flags when using this command")
    warnings: list[str] = []

    def act(name: str) -> None:
        answer = context.engine.post(f"/containers/{quote(name)}/update", body)
        warnings.extend(answer.get("Warnings") or ())

    code = for_each(names, act)
    out("".join(warning + "\n" for warning in warnings))
    return code


UPDATE = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    update,
    (
        Flag("blkio-weight", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
        Flag("cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
        Flag("cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
        Flag("cpu-rt-period", "int", "Limit the CPU real-time period in microseconds"),
        Flag("cpu-rt-runtime", "int", "Limit the CPU real-time runtime in microseconds"),
        Flag("cpu-shares", "int", "CPU shares (relative weight)", "c"),
        Flag("cpus", "decimal", "Number of CPUs"),
        Flag("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        Flag("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        Flag("memory", "bytes", "Memory limit", "m"),
        Flag("memory-reservation", "bytes", "Memory soft limit"),
        Flag("memory-swap", "swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
        Flag("pids-limit", "int", "Tune container pids limit (set -1 for unlimited)"),
        Flag("publish-add", "list", "Publish further ports"),
        Flag(
            "publish-rm",
            "list",
            "Publish ports no more ([[IP:]HOST:]PORT[/PROTO]; without a host's, all of them)",
        ),
        Flag("restart", "string", "Restart policy to apply when a container exits"),
    ),
    least=1,
    most=UNLIMITED,
)
