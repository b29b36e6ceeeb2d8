"""`corten image cp`: images from one place to another, as skopeo names places.

docker://NAME is in a registry; docker-archive:FILE and oci-archive:FILE are archives and oci:DIRECTORY is a
layout beside the command line, each with :NAME behind it if it has several; store://NAME, or NAME alone, is
an image of the engine. Between registries and what is beside the command line nothing is stored.
"""

from __future__ import annotations

from corten.cli import reference
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.cli.image.platform import encode
from corten.cli.image.pull import canonical
from corten.client import jsontext
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_REGISTRY, _STORE, _ARCHIVE, _LAYOUT = "registry", "store", "archive", "layout"
_PREFIXES = {
    "docker://": _REGISTRY,
    "store://": _STORE,
    "docker-archive:": _ARCHIVE,
    "oci-archive:": _ARCHIVE,
    "oci:": _LAYOUT,
}
_TAR = {"Content-Type": "application/x-tar"}


def copy(context: Context, options: Options, arguments: list[str]) -> int:
    """Copy one image; between registries and archives all its platforms, byte for byte."""
    (source_kind, source), (target_kind, target) = map(_place, arguments)
    ways = {
        (_REGISTRY, _REGISTRY): _between_registries,
        (_REGISTRY, _STORE): _pull,
        (_STORE, _REGISTRY): _push,
        (_STORE, _STORE): _tag,
        (_ARCHIVE, _STORE): _load,
        (_STORE, _ARCHIVE): _save,
        (_LAYOUT, _STORE): _load_layout,
        (_STORE, _LAYOUT): _save_layout,
        (_REGISTRY, _ARCHIVE): _to_archive,
        (_REGISTRY, _LAYOUT): _to_layout,
        (_ARCHIVE, _REGISTRY): _from_archive,
        (_LAYOUT, _REGISTRY): _from_layout,
    }
    if options.on("referrers") and (source_kind, target_kind) != (_REGISTRY, _REGISTRY):
        raise ExitError("--referrers copies from one registry to another only")
    way = ways.get((source_kind, target_kind))
    if way is None:
        _convert(context, options, source_kind == _LAYOUT, source, target_kind == _LAYOUT, target)
    else:
        way(context, options, source, target)
    return 0


def _place(text: str) -> tuple[str, str]:
    for prefix, kind in _PREFIXES.items():
        if text.startswith(prefix):
            return kind, text.removeprefix(prefix)
    return _STORE, text


def _between_registries(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.system import credentials

    headers = {"Content-Type": "application/json", **credentials.header(context, reference.domain(target))}
    body: dict[str, object] = {"Source": _full(source), "Referrers": options.on("referrers")}
    if auth := credentials.find(context.config(), credentials.server_key(reference.domain(source))):
        body["SourceAuth"] = auth
    path = f"/distribution/{quote(_full(target), b'/:@')}/copy"
    fields: dict[str, object] = {"platform": _platform(options)}
    response = context.engine.call("POST", path, fields, jsontext.dumps(body).encode(), headers)
    out(f"{jsontext.loads(response.read().decode())['Digest']}\n")


def _platform(options: Options) -> str | None:
    return encode(options["platform"]) if options["platform"] else None


def _full(text: str) -> str:
    name, tag, digest = reference.split(text)
    return f"{canonical(name)}@{digest}" if digest else f"{canonical(name)}:{tag or 'latest'}"


def _pull(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.image.pull import fetch

    fetch(context, source, options["platform"], fd=1, quiet=False)
    _tag(context, options, source, target)


def _push(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.image.push import send

    _tag(context, options, source, target)
    send(context, target, options["platform"])


def _tag(context: Context, _: Options, source: str, target: str) -> None:
    name, tag, digest = reference.split(target)
    if digest:
        raise ExitError("refusing to create a tag with a digest reference")
    if reference.familiar(source) != reference.familiar(target):
        context.engine.post(f"/images/{quote(source, b'/:@')}/tag", None, repo=name, tag=tag or "latest")


def _load(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.image.archive import load_file

    if target:
        raise ExitError("an archive is loaded under its own names: name no target, as in store://")
    load_file(context, source, [options["platform"]] if options["platform"] else [])


def _save(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.image.archive import save_file

    save_file(context, [source], target, [options["platform"]] if options["platform"] else [])


def _load_layout(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli import progress
    from corten.cli.image import layout

    if target:
        raise ExitError("a layout is loaded under its own names: name no target, as in store://")
    fields: dict[str, object] = {"quiet": True, "platform": _platform(options)}
    pieces = layout.read(*_named(source))
    progress.show(context.engine.call("POST", "/images/load", fields, pieces, _TAR), 1)


def _save_layout(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.image import layout

    fields: dict[str, object] = {"names": [source], "platform": _platform(options)}
    directory, name = _named(target)
    layout.write(directory, context.engine.call("GET", "/images/get", fields), name)


def _to_archive(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.files import write_file

    path, name = _named(target)
    write_file(path, _fetched(context, options, source, name or source), "failed to write the archive")


def _to_layout(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.image import layout

    directory, name = _named(target)
    layout.write(directory, _fetched(context, options, source, ""), name)


def _fetched(context: Context, options: Options, source: str, name: str) -> Iterable[bytes]:
    """The archive of an image in a registry."""
    from corten.cli.system import credentials

    path = f"/distribution/{quote(_full(source), b'/:@')}/archive"
    fields: dict[str, object] = {"platform": _platform(options), "name": name or None}
    headers = credentials.header(context, reference.domain(source))
    return context.engine.call("GET", path, fields, headers=headers)


def _from_archive(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.image.archive import pieces_of

    path, name = _named(source)
    _send(context, options, pieces_of(path), name, target)


def _from_layout(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.image import layout

    _send(context, options, layout.read(*_named(source)), "", target)


def _send(context: Context, options: Options, pieces: Iterable[bytes], name: str, target: str) -> None:
    """Let the engine put the image of an archive into a registry."""
    from corten.cli.system import credentials

    headers = {**_TAR, **credentials.header(context, reference.domain(target))}
    path = f"/distribution/{quote(_full(target), b'/:@')}/archive"
    fields: dict[str, object] = {"platform": _platform(options), "name": name or None}
    response = context.engine.call("POST", path, fields, pieces, headers)
    out(f"{jsontext.loads(response.read().decode())['Digest']}\n")


def _convert(
    context: Context, options: Options, from_layout: bool, source: str, to_layout: bool, target: str
) -> None:
    """From archive or layout to archive or layout; the engine makes the one out of the other."""
    from corten.cli.files import write_file
    from corten.cli.image import layout
    from corten.cli.image.archive import pieces_of

    (path, wanted), (to, called) = _named(source), _named(target)
    # Of a layout only what is called so is sent.
    pieces, name = (layout.read(path, wanted), "") if from_layout else (pieces_of(path), wanted)
    fields: dict[str, object] = {
        "source": name or None,
        "name": None if to_layout else called or None,
        "platform": _platform(options),
    }
    converted = context.engine.call("POST", "/distribution/archive", fields, pieces, _TAR)
    if to_layout:
        layout.write(to, converted, called)
    else:
        write_file(to, converted, "failed to write the archive")


def _named(text: str) -> tuple[str, str]:
    """PATH[:NAME], as skopeo has it."""
    path, _, name = text.partition(":")
    return path, name


COPY = Command(
    "[OPTIONS] SOURCE TARGET",
    copy,
    (
        Flag("platform", "string", 'Copy this platform only ("os[/arch[/variant]]")'),
        Flag("referrers", "bool", "Copy signatures and whatever else refers to the image, too"),
    ),
    least=2,
    most=2,
)
