"""`corten push`."""

from __future__ import annotations

from corten.cli import progress, reference
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.cli.image.pull import canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def push(context: Context, options: Options, arguments: list[str]) -> int:
    """Send one tag, or with -a all tags of a repository, to its registry; with -q prints the name only."""
    from corten.cli.system import credentials

    image = arguments[0]
    name, tag, digest = reference.split(image)
    everything, quiet = options.on("all-tags"), options.on("quiet")
    if digest:
        raise ExitError("cannot push a digest reference")
    if everything and tag:
        raise ExitError("tag can't be used with --all-tags/-a")
    if not (everything or tag):
        tag = "latest"
        if not quiet:
            out("Using default tag: latest\n")
    fields: dict[str, object] = {"tag": tag or None, "platform": _platform(options)}
    headers = credentials.header(context, reference.domain(image))
    response = context.engine.call("POST", f"/images/{canonical(name)}/push", fields, headers=headers)
    shown: list[str] = []

    def note(aux: Any) -> None:
        if isinstance(aux, dict) and "Digest" in aux:
            shown.append(f"{canonical(name)}:{aux.get('Tag', tag)}")

    progress.show(response, None if quiet else 1, note)
    if quiet:
        out("".join(f"{each}\n" for each in shown or [canonical(image)]))
    return 0


def _platform(options: Options) -> str | None:
    if not options["platform"]:
        return None
    from corten.cli.image.platform import encode

    return encode(options["platform"])


PUSH = Command(
    "[OPTIONS] NAME[:TAG]",
    push,
    (
        Flag("all-tags", "bool", "Push all tags of an image to the repository", "a"),
        Flag("disable-content-trust", "bool", "Skip image signing", default=True, hidden=True),
        Flag("platform", "string", "Push a platform-specific manifest as a single-platform image"),
        Flag("quiet", "bool", "Suppress verbose output", "q"),
    ),
    least=1,
    most=1,
)
