"""`corten build --output`, `--provenance`, `--sbom`, `--attest`: what is asked for, and where it goes.

The engine tells of each output by a message; we fetch it with a request of its own while the build waits.
"""

from __future__ import annotations

import os

from corten.cli.context import Context, write_all
from corten.cli.errors import ExitError
from corten.cli.files import write_file
from corten.cli.flags import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

OUTPUT = "corten.build.output"  # the id of the message: `corten.builder.frontends.tracedexport`
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_FILES = ("docker", "oci", "tar")
_ANNOTATED = ("index", "manifest", "index-descriptor", "manifest-descriptor")
_KINDS = ("docker", "oci", "tar", "local", "image", "registry", "cacheonly")


class Output:
    """One of them. `dest`: a path on this machine, "-" = stdout, "" = none is wanted.

    `kind` and `attributes`: as the engine is asked for it. `unpack`: what comes is a tar of what is wanted.
    """

    __slots__ = ("attributes", "dest", "kind", "unpack")

    def __init__(self, item: str) -> None:
        """`item`: as on the command line. Raises ExitError for what cannot be meant."""
        import csv

        fields: dict[str, str] = {}
        for field in next(csv.reader([item]), []):
            key, equals, value = field.partition("=")
            if not equals:
                if fields or "," in item:
                    raise ExitError(f"invalid value {field}")
                key, value = "dest", field
                fields["type"] = "tar" if field == "-" else "local"
            fields[key.strip().lower()] = value
        if "type" not in fields:
            raise ExitError("type is required for output")
        self.kind = fields.pop("type")
        if self.kind not in _KINDS:
            raise ExitError(f'exporter "{self.kind}" could not be found')
        self.dest = fields.pop("dest", "")
        self.unpack = self.kind == "local"
        if self.kind == "registry":
            self.kind, fields["push"] = "image", "true"
        elif self.kind in ("docker", "oci") and fields.pop("tar", "true").lower() in _FALSE:
            self.unpack = True
        if self.kind == "docker" and not self.dest:
            self.kind = "moby"
        self.attributes = fields
        if self.kind == "local" and self.dest in ("", "-"):
            raise ExitError("dest is required for local exporter")
        if self.kind in _FILES and not self.dest:
            if self.unpack or os.isatty(1):
                raise ExitError(
                    f"dest file is required for {self.kind} exporter. refusing to write to console"
                )
            self.dest = "-"
        if self.unpack and self.dest == "-":
            raise ExitError("a directory cannot be written to stdout")
        if self.kind in _FILES and not self.unpack and self.dest != "-" and os.path.isdir(self.dest):
            raise ExitError(f"destination file {self.dest} is a directory")

    @property
    def asked(self) -> dict[str, object]:
        """As the query of POST /build has it."""
        return {"Type": self.kind, "Attrs": self.attributes}


def outputs(options: Options) -> list[Output]:
    """All of `--output`, with what the shorthands and `--annotation` add."""
    found = [Output(item) for item in options.items("output")]
    if options.on("load") and options.on("push"):
        raise ExitError("push and load may not be set together at the moment")
    if options.on("push"):
        images = [each for each in found if each.kind in ("image", "moby")]
        for each in images:
            each.attributes["push"] = "true"
        if not images:
            found.append(Output("type=registry"))
    elif options.on("load") and found and not any(each.kind == "moby" for each in found):
        found.append(Output("type=docker"))
    annotations = {key: value for item in options.items("annotation") for key, value in _annotation(item)}
    if annotations:
        found = found or [Output("type=docker")]
        for each in found:
            if each.kind in ("image", "moby", "oci"):
                each.attributes |= annotations
    return found


def _annotation(item: str) -> Iterable[tuple[str, str]]:
    """`[TYPE[PLATFORM],...:]KEY=VALUE` as attributes. Platforms are the engine's to check."""
    key, equals, value = item.partition("=")
    if not equals:
        raise ExitError(f'invalid annotation "{item}", expected key=value')
    kinds, colon, name = key.partition(":")
    if not colon:
        return [(f"annotation.{key}", value)]
    for kind in kinds.split(","):
        if kind.partition("[")[0] not in _ANNOTATED:
            raise ExitError(f'unknown annotation type "{kind}"')
    return [(f"annotation-{kind}.{name}", value) for kind in kinds.split(",")]


def attestations(options: Options, wanted: list[Output]) -> dict[str, str]:
    """What is to be attested, by kind; later flags take the place of earlier ones.

    What is pushed has minimal provenance, as buildx has it, unless the environment says that it has none.
    """
    found: dict[str, str] = {}
    is_pushed = any(output.attributes.get("push", "").lower() in _TRUE for output in wanted)
    if is_pushed and os.environ.get("BUILDX_NO_DEFAULT_ATTESTATIONS", "").lower() not in _TRUE:
        found["provenance"] = "mode=min,inline-only=true"
    for item in options.items("attest"):
        kind = ""
        for field in item.split(","):
            key, _, value = field.partition("=")
            kind = value if key.strip().lower() == "type" else kind
        if not kind:
            raise ExitError("attestation type not specified")
        found[kind] = item
    for kind in ("provenance", "sbom"):
        if options.given(kind):
            text = options[kind].lower()
            found[kind] = "" if text in _TRUE else "disabled=true" if text in _FALSE else options[kind]
    return {kind: text for kind, text in found.items() if not _is_off(text)}


def _is_off(text: str) -> bool:
    return any(field.strip().lower() in ("disabled=true", "disabled=1") for field in text.split(","))


def take(context: Context, wanted: list[Output], told: dict[str, Any]) -> None:
    """Fetch an output that the engine holds ready, and put it where it belongs. Raises ExitError."""
    output = wanted[int(told["number"])]
    response = context.engine.call("GET", f"/build/outputs/{told['token']}", {})
    if output.unpack:
        _unpack(output.dest, response)
    elif output.dest == "-":
        for piece in response:
            write_all(1, piece)
    else:
        write_file(output.dest, response, "failed to write the build's output")


def _unpack(directory: str, response: Iterable[bytes]) -> None:
    from corten.cli.container.unpack import unpack

    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as e:
        raise ExitError(f"mkdir {directory}: {(e.strerror or '').lower()}") from e
    unpack(response, directory, str)
