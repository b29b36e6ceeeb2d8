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
    from collections.abc import Callable
    from typing import Any


def push(context: Context, options: Options, arguments: list[str]) -> int:
    """Send one tag, or with -a all tags of a repository, to its registry; with -q prints the name only."""
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
    shown: list[str] = []

    def note(aux: Any) -> None:
        if isinstance(aux, dict) and "Digest" in aux:
            shown.append(f"{canonical(name)}:{aux.get('Tag', tag)}")

    _call(context, name, tag, options["platform"], note, None if quiet else 1)
    if quiet:
        out("".join(f"{each}\n" for each in shown or [canonical(image)]))
    return 0


def send(context: Context, image: str, platform: str) -> None:
    """Have the engine push one tag and show the progress. Raises APIError, ExitError."""
    name, tag, _ = reference.split(image)
    _call(context, name, tag or "latest", platform, None, 1)


def _call(
    context: Context, name: str, tag: str, platform: str, aux: Callable[[Any], None] | None, fd: int | None
) -> None:
    from corten.cli.system import credentials

    fields: dict[str, object] = {"tag": tag or None, "platform": None}
    if platform:
        from corten.cli.image.platform import encode

        fields["platform"] = encode(platform)
    headers = credentials.header(context, reference.domain(name))
    response = context.engine.call("POST", f"/images/{canonical(name)}/push", fields, headers=headers)
    progress.show(response, fd, aux)


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
