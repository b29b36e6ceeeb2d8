"""`corten builder prune` and `corten builder du`: the build cache."""

from __future__ import annotations

import sys
import time

from corten import spans
from corten.cli import clock, filters, sizes, table
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.flags import Flag, Options

_DANGLING = "WARNING! This will remove all dangling build cache."
_MOUNT = "exec.cachemount"
_ALL = "WARNING! This will remove all build cache."
_SIZES = {
    "keep-storage": "keep-storage",
    "reserved-space": "keep-storage",
    "max-used-space": "max-used-space",
    "min-free-space": "min-free-space",
}


def prune(context: Context, options: Options, _: list[str]) -> int:
    """Remove what no image has, or with -a everything."""
    if not options.on("force"):
        out(f"{_ALL if options.on('all') else _DANGLING} Are you sure you want to continue? [y/N] ")
        if sys.stdin.readline().strip().lower() != "y":
            return 0
    fields: dict[str, object] = {"filters": filters.encode(options)}
    if options.on("all"):
        fields["all"] = 1
    for flag, field in _SIZES.items():
        if options.given(flag):
            fields[field] = options.number(flag)
    answer = context.engine.post("/build/prune", **fields) or {}
    if deleted := answer.get("CachesDeleted"):
        out("Deleted build cache objects:\n" + "".join(f"{name}\n" for name in deleted) + "\n")
    out(f"Total reclaimed space: {sizes.decimal(int(answer.get('SpaceReclaimed', 0)))}\n")
    return 0


def du(context: Context, options: Options, _: list[str]) -> int:
    """List the cache's records, the largest first, and what they come to."""
    usage = context.engine.get("/system/df", type=["build-cache"])
    records = sorted(usage.get("BuildCache") or (), key=lambda record: -int(record.get("Size", 0)))
    if options.on("verbose"):
        for record in records:
            rows = [
                ["ID:", str(record["ID"])],
                ["Created at:", str(record.get("CreatedAt") or "")],
                ["Mutable:", "false"],
                ["Reclaimable:", _word(not record.get("InUse"))],
                ["Shared:", _word(record.get("Shared"))],
                ["Size:", sizes.decimal(int(record.get("Size", 0)))],
                ["Description:", str(record.get("Description") or "")],
                ["Usage count:", str(record.get("UsageCount", 0))],
                ["Last used:", _since(record.get("LastUsedAt"))],
                ["Type:", str(record.get("Type") or "")],
            ]
            out(table.align(rows) + "\n")
    else:
        lines = [["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"]]
        for record in records:
            size, used = sizes.decimal(int(record.get("Size", 0))), _since(record.get("LastUsedAt"))
            lines.append([str(record["ID"])[:25], _word(not record.get("InUse")), size, used])
        out(table.align(lines))
    shared = sum(int(record.get("Size", 0)) for record in records if record.get("Shared"))
    mounts = sum(int(record.get("Size", 0)) for record in records if record.get("Type") == _MOUNT)
    total = int(usage.get("BuilderSize") or 0) + mounts
    sums = [
        ("Shared:", shared),
        ("Private:", max(0, total - shared)),
        ("Reclaimable:", total),
        ("Total:", total),
    ]
    out(table.align([[name, sizes.decimal(size)] for name, size in sums]))
    return 0


def _word(value: object) -> str:
    return "true" if value else "false"


def _since(text: object) -> str:
    moment = clock.parse(str(text or ""))
    return f"{spans.human(time.time() - moment[0])} ago" if moment else ""


PRUNE = Command(
    "[OPTIONS]",
    prune,
    (
        Flag("all", "bool", "Remove all unused build cache, not just dangling ones", "a"),
        Flag("filter", "filter", 'Provide filter values (e.g., "until=24h")'),
        Flag("force", "bool", "Do not prompt for confirmation", "f"),
        Flag("keep-storage", "bytes", "Amount of disk space to keep for cache"),
        Flag("max-used-space", "bytes", "Maximum amount of disk space allowed to keep for cache"),
        Flag("min-free-space", "bytes", "Target amount of free disk space after pruning"),
        Flag("reserved-space", "bytes", "Amount of disk space to keep for cache", hidden=True),
    ),
)
DU = Command("[OPTIONS]", du, (Flag("verbose", "bool", "Provide a more verbose output"),))
