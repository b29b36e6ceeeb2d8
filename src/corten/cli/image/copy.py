"""`corten image cp`: images from one place to another, as skopeo names places.

docker://NAME is in a registry, docker-archive:FILE and oci-archive:FILE are archives beside the command
line, store://NAME, or NAME alone, is an image of the engine.
"""

from __future__ import annotations

from corten.cli import reference
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.cli.image.pull import canonical
from corten.client import jsontext
from corten.client.query import quote

_REGISTRY, _STORE, _ARCHIVE = "registry", "store", "archive"
_PREFIXES = {
    "docker://": _REGISTRY,
    "store://": _STORE,
    "docker-archive:": _ARCHIVE,
    "oci-archive:": _ARCHIVE,
}


def copy(context: Context, options: Options, arguments: list[str]) -> int:
    """Copy one image; between registries all its platforms, byte for byte, without the engine's store."""
    (source_kind, source), (target_kind, target) = map(_place, arguments)
    ways = {
        (_REGISTRY, _REGISTRY): _between_registries,
        (_REGISTRY, _STORE): _pull,
        (_STORE, _REGISTRY): _push,
        (_STORE, _STORE): _tag,
        (_ARCHIVE, _STORE): _load,
        (_STORE, _ARCHIVE): _save,
    }
    way = ways.get((source_kind, target_kind))
    if way is None:
        raise ExitError("archives are copied to and from the engine's store only (store://)")
    way(context, options, source, target)
    return 0


def _place(text: str) -> tuple[str, str]:
    for prefix, kind in _PREFIXES.items():
        if text.startswith(prefix):
            return kind, text.removeprefix(prefix)
    return _STORE, text


def _between_registries(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.system import credentials

    if options["platform"]:
        raise ExitError("--platform has no meaning between registries: all platforms are copied")
    headers = {"Content-Type": "application/json", **credentials.header(context, reference.domain(target))}
    body: dict[str, object] = {"Source": _full(source)}
    if auth := credentials.find(context.config(), credentials.server_key(reference.domain(source))):
        body["SourceAuth"] = auth
    path = f"/distribution/{quote(_full(target), b'/:@')}/copy"
    response = context.engine.call("POST", path, {}, jsontext.dumps(body).encode(), headers)
    out(f"{jsontext.loads(response.read().decode())['Digest']}\n")


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
    load_file(context, source, options["platform"])


def _save(context: Context, options: Options, source: str, target: str) -> None:
    from corten.cli.image.archive import save_file

    save_file(context, [source], target, options["platform"])


COPY = Command(
    "[OPTIONS] SOURCE TARGET",
    copy,
    (Flag("platform", "string", 'Copy this platform only ("os[/arch[/variant]]")'),),
    least=2,
    most=2,
)
