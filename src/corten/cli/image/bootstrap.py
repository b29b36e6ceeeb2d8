"""`corten image bootstrap`: a base image from the distribution's packages, without any registry."""

from __future__ import annotations

from corten.cli import progress
from corten.cli.command import Command
from corten.cli.context import Context
from corten.cli.flags import Flag, Options


def bootstrap(context: Context, options: Options, arguments: list[str]) -> int:
    """Have the engine make `busybox` or `debian[:SUITE]`; its progress is shown."""
    fields: dict[str, object] = {"image": arguments[0], "mirror": options["mirror"] or None}
    progress.show(
        context.engine.call("POST", "/images/bootstrap", fields), None if options.on("quiet") else 1
    )
    return 0


BOOTSTRAP = Command(
    "[OPTIONS] busybox|debian[:SUITE]",
    bootstrap,
    (
        Flag("mirror", "string", "Take Debian's packages from this mirror"),
        Flag("quiet", "bool", "Don't show progress", "q"),
    ),
    least=1,
    most=1,
)
