"""`corten pull`, and pulling what `run` and `create` did not find."""

from __future__ import annotations

from corten.cli import reference
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.flags import Flag, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass


def pull(context: Context, options: Options, arguments: list[str]) -> int:
    """Pull one image, or with -a all tags of a repository; prints its full name."""
    image = arguments[0]
    name, tag, digest = reference.split(image)
    everything = options.on("all-tags")
    if everything and (tag or digest):
        from corten.cli.errors import ExitError

        raise ExitError("tag can't be used with --all-tags/-a")
    if not (everything or tag or digest or options.on("quiet")):
        out("Using default tag: latest\n")
    fetch(context, image, options["platform"], fd=1, quiet=options.on("quiet"), all_tags=everything)
    shown = name if everything else reference.familiar(image)
    out(f"{canonical(shown)}\n")
    return 0


def canonical(familiar: str) -> str:
    """The full name with its registry."""
    first, slash, _ = familiar.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return familiar
    return f"docker.io/{familiar}" if slash else f"docker.io/library/{familiar}"


def fetch(
    context: Context, image: str, platform: str, *, fd: int, quiet: bool, all_tags: bool = False
) -> None:
    """Have the engine pull an image and show the progress on `fd`. Raises APIError, ExitError."""
    from corten.cli import progress
    from corten.cli.system import credentials

    name, tag, digest = reference.split(image)
    fields: dict[str, object] = {"fromImage": canonical(name), "platform": platform or None}
    if not all_tags:
        fields["tag"] = digest or tag or "latest"
    headers = credentials.header(context, reference.domain(image))
    response = context.engine.call("POST", "/images/create", fields, headers=headers)
    progress.show(response, None if quiet else fd)


PULL = Command(
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    pull,
    (
        Flag("all-tags", "bool", "Download all tagged images in the repository", "a"),
        Flag("disable-content-trust", "bool", "Skip image verification", default=True, hidden=True),
        Flag("platform", "string", "Set platform if server is multi-platform capable"),
        Flag("quiet", "bool", "Suppress verbose output", "q"),
    ),
    least=1,
    most=1,
)
