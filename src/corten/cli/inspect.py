"""`corten inspect` and the inspects of containers, images, networks and volumes."""

from __future__ import annotations

from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context, err, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_DOCUMENTS
from corten.client import jsontext
from corten.client.errors import APIError
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}


def _inspect_any(context: Context, options: Options, arguments: list[str]) -> int:
    kind = options["type"]
    if kind and kind not in _PATHS:
        raise ExitError(f'"{kind}" is not a valid value for --type')
    return _show(context, options, arguments, [kind] if kind else list(_PATHS))


def _show(context: Context, options: Options, arguments: list[str], kinds: list[str]) -> int:
    """Show the things with these names; what was found is shown also when others were not."""
    found, failures = [], []
    fields = {kind: _fields(options, kind) for kind in kinds}
    for name in arguments:
        try:
            found.append(_find(context, name, kinds, fields))
        except ExitError as e:
            failures.append(str(e))
    template = options["format"]
    if template and template != "json":
        from corten.cli.template import render

        program = render.Program(template)
        out("".join(program.render(document) + "\n" for document in found))
    elif template:
        out("[" + ",".join(map(jsontext.dumps, found)) + "]\n")
    else:
        out(jsontext.dumps_indented(found) + "\n")
    if failures:
        err("\n".join(failures) + "\n")
        return 1
    return 0


def _fields(options: Options, kind: str) -> dict[str, object]:
    """The query for things of this kind; not every inspect has every flag."""
    if kind == "container" and options.has("size") and options.on("size"):
        return {"size": 1}
    if kind == "image" and options.has("platform") and options["platform"]:
        from corten.cli.image.platform import encode

        return {"platform": encode(options["platform"])}
    return {}


def _find(
    context: Context, name: str, kinds: list[str], fields: dict[str, dict[str, object]]
) -> dict[str, Any]:
    for kind in kinds:
        try:
            path = _PATHS[kind].format(quote(name, b"/:@"))
            document: dict[str, Any] = context.engine.get(path, **fields[kind])
            return document
        except APIError as e:
            if len(kinds) == 1:
                raise ExitError(str(e)) from e
            if e.status not in (404, 400):
                raise
    raise ExitError(f"Error: No such object: {name}")


_SIZE = Flag("size", "bool", "Display total file sizes", "s")

INSPECT = Command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    _inspect_any,
    (
        FOR_DOCUMENTS,
        Flag("size", "bool", "Display total file sizes if the type is container", "s"),
        Flag("type", "string", "Only inspect objects of the given type"),
    ),
    least=1,
    most=UNLIMITED,
)
INSPECT_CONTAINER = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    lambda context, options, names: _show(context, options, names, ["container"]),
    (FOR_DOCUMENTS, _SIZE),
    least=1,
    most=UNLIMITED,
)
INSPECT_IMAGE = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    lambda context, options, names: _show(context, options, names, ["image"]),
    (
        FOR_DOCUMENTS,
        Flag(
            "platform",
            "string",
            'Inspect a specific platform of the multi-platform image ("os[/arch[/variant]]")',
        ),
    ),
    least=1,
    most=UNLIMITED,
)
INSPECT_NETWORK = Command(
    "[OPTIONS] NETWORK [NETWORK...]",
    lambda context, options, names: _show(context, options, names, ["network"]),
    (FOR_DOCUMENTS, Flag("verbose", "bool", "Verbose output for diagnostics", "v")),
    least=1,
    most=UNLIMITED,
)
INSPECT_VOLUME = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    lambda context, options, names: _show(context, options, names, ["volume"]),
    (FOR_DOCUMENTS,),
    least=1,
    most=UNLIMITED,
)
