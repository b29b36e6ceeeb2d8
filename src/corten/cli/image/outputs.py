"""Where `corten build --output` puts an image: the engine's store, a registry, an archive on this machine."""

from __future__ import annotations

from corten.cli.errors import ExitError
from corten.cli.flags import Options

_KNOWN = {
    "docker": ("dest", "name"),
    "oci": ("dest", "name"),
    "image": ("name", "push"),
    "registry": ("name",),
}
_TRUE = ("1", "t", "true")


class Output:
    """One of them. `dest`: an archive's path, "-" = stdout, "" = none is wanted."""

    __slots__ = ("dest", "name", "push")

    def __init__(self, item: str) -> None:
        """`item`: TYPE=...,NAME=VALUE as on the command line. Raises ExitError for what cannot be done."""
        fields = {key.strip().lower(): value for key, _, value in (f.partition("=") for f in item.split(","))}
        kind = fields.pop("type", "local")
        known = _KNOWN.get(kind, ())
        if kind not in _KNOWN or any(name not in known for name in fields):
            raise ExitError(f"--output {item} is not supported by corten build: use docker buildx build")
        self.dest = fields.get("dest", "")
        self.name = fields.get("name", "")
        self.push = kind == "registry" or fields.get("push", "").lower() in _TRUE
        if kind == "oci" and not self.dest:
            raise ExitError("dest file is required for oci exporter")


def outputs(options: Options) -> list[Output]:
    """All of `--output`; names that they give become tags of the build."""
    found = [Output(item) for item in options.items("output")]
    for output in found:
        if output.name and output.name not in options.items("tag"):
            options.set(options.flag("tag"), output.name)
    return found
