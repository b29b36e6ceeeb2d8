"""`corten system fsck`: whether the engine's ledger, its disk and the kernel agree."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.flags import Flag, Options


def fsck(context: Context, options: Options, _: list[str]) -> int:
    """Print what is wrong; the exit code is 1 if something is and stays so."""
    contents = "0" if options.on("quick") else None
    report = context.engine.post("/system/fsck", repair=options.on("repair") or None, contents=contents)
    findings = report["Findings"]
    for finding in findings:
        state = "repaired" if finding["Repaired"] else "found"
        out(f"{state}: {finding['Kind']} {finding['Subject']}: {finding['Problem']}\n")
    if not findings:
        out("ledger, disk and kernel agree\n")
    return 0 if all(finding["Repaired"] for finding in findings) else 1


FSCK = Command(
    "[OPTIONS]",
    fsck,
    (
        Flag("quick", "bool", "Don't read the contents of blobs and layers", "q"),
        Flag("repair", "bool", "Remove what is damaged or belongs to nobody"),
    ),
)
