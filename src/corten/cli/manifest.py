"""`corten manifest`: lists of images for several platforms, made here and pushed whole.

A list that is being made is a folder of the configuration, as Docker has it::

    <config>/manifests/docker.io_user_app-1.0/<member>    {"Ref": ..., "Descriptor": ...}
"""

from __future__ import annotations

import os
import shutil

from corten.cli import reference
from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.cli.image.pull import canonical
from corten.client import jsontext
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LISTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_PLATFORM = {"arch": "architecture", "os": "os", "variant": "variant", "os-version": "os.version"}


def create(context: Context, options: Options, arguments: list[str]) -> int:
    """Begin a list of images that lie in a registry, or with --amend add to one."""
    target = _full(arguments[0])
    folder = _folder(context, target)
    if os.path.isdir(folder) and not options.on("amend"):
        raise ExitError("refusing to amend an existing manifest list with no --amend flag")
    members = [_fetch(context, _full(member)) for member in arguments[1:]]
    for member in members:
        _write(folder, member)
    out(f"Created manifest list {target}\n")
    return 0


def annotate(context: Context, options: Options, arguments: list[str]) -> int:
    """Say what platform a member of a list is for."""
    target, member = map(_full, arguments)
    folder = _folder(context, target)
    path = os.path.join(folder, _file_name(member))
    if not os.path.isfile(path):
        raise ExitError(f"manifest for image {member} does not exist in {target}")
    document = _read(path)
    platform = document["Descriptor"].setdefault("platform", {})
    for flag, field in _PLATFORM.items():
        if options[flag]:
            platform[field] = options[flag]
    if features := options.items("os-features"):
        platform["os.features"] = sorted({*platform.get("os.features", []), *features})
    if not platform.get("os") or not platform.get("architecture"):
        raise ExitError(f"manifest entry for image has unsupported os/arch combination: {platform}")
    _write(folder, document)
    return 0


def inspect(context: Context, options: Options, arguments: list[str]) -> int:
    """Show a manifest of a registry, a list that is being made, or a member of that."""
    if len(arguments) == 2:
        path = os.path.join(_folder(context, _full(arguments[0])), _file_name(_full(arguments[1])))
        if not os.path.isfile(path):
            raise ExitError(f"No such manifest: {_full(arguments[1])}")
        _show(_read(path))
        return 0
    target = _full(arguments[0])
    members = _members(_folder(context, target))
    if members and options.on("verbose"):
        _show(members)
    elif members:
        _show(_list_of(members), "   ")
    elif options.on("verbose"):
        found, kind = _raw(context, target)
        if kind in _LISTS:
            names = [f"{_name(target)}@{member['digest']}" for member in found["manifests"]]
            _show([_detailed(context, name) for name in names])
        else:
            _show(_detailed(context, target))
    else:
        found, kind = _raw(context, target)
        _show(found, "   " if kind in _LISTS else "\t")
    return 0


def push(context: Context, options: Options, arguments: list[str]) -> int:
    """Push a list with its images; prints its digest."""
    from corten.cli.system import credentials

    target = _full(arguments[0])
    folder = _folder(context, target)
    members = _members(folder)
    if not members:
        raise ExitError(f"No such manifest: {target}")
    path = f"/distribution/{quote(target, b'/:@')}/index"
    headers = {"Content-Type": "application/json", **credentials.header(context, reference.domain(target))}
    body = jsontext.dumps({"Manifests": [{"Ref": m["Ref"], "Descriptor": m["Descriptor"]} for m in members]})
    response = context.engine.call("POST", path, {}, body.encode(), headers)
    pushed = jsontext.loads(response.read().decode())
    for member in members:
        digest = member["Descriptor"]["digest"]
        out(f"Pushed ref {_name(target)}@{digest} with digest: {digest}\n")
    out(f"{pushed['Digest']}\n")
    if options.on("purge"):
        shutil.rmtree(folder)
    return 0


def remove(context: Context, _: Options, arguments: list[str]) -> int:
    """Forget lists that were being made."""
    failures = []
    for name in arguments:
        folder = _folder(context, _full(name))
        if os.path.isdir(folder):
            shutil.rmtree(folder)
        else:
            failures.append(f"No such manifest: {name}")
    if failures:
        raise ExitError("\n".join(failures))
    return 0


# -- what a registry has ---------------------------------------------------------------------------


def _raw(context: Context, name: str) -> tuple[dict[str, Any], str]:
    """A manifest and its media type. Raises ExitError in Docker's words."""
    from corten.cli.system import credentials
    from corten.client.errors import APIError

    headers = credentials.header(context, reference.domain(name))
    try:
        response = context.engine.call(
            "GET", f"/distribution/{quote(name, b'/:@')}/manifest", {}, headers=headers
        )
    except APIError as e:
        raise ExitError(f"no such manifest: {name}" if e.status == 404 else str(e)) from e
    kind = response.headers.get("content-type", "")
    document: dict[str, Any] = jsontext.loads(response.read().decode("utf-8", "replace"))
    return document, kind


def _detailed(context: Context, name: str) -> dict[str, Any]:
    """What --verbose shows of a manifest."""
    document, _ = _raw(context, name)
    key = "OCIManifest" if "oci" in document.get("mediaType", "") else "SchemaV2Manifest"
    return {**_fetch(context, name), key: document}


def _fetch(context: Context, name: str) -> dict[str, Any]:
    """A member for a list: its name by digest, and its descriptor with the platform."""
    from corten.cli.system import credentials

    headers = credentials.header(context, reference.domain(name))
    response = context.engine.call("GET", f"/distribution/{quote(name, b'/:@')}/json", {}, headers=headers)
    found = jsontext.loads(response.read().decode("utf-8", "replace"))
    descriptor = found["Descriptor"]
    if descriptor["mediaType"] in _LISTS:
        raise ExitError(f"{reference.familiar(name)} is a manifest list")
    descriptor["platform"] = (found.get("Platforms") or [{}])[0]
    return {"Name": name, "Ref": f"{_name(name)}@{descriptor['digest']}", "Descriptor": descriptor}


# -- lists that are being made ---------------------------------------------------------------------


def _full(text: str) -> str:
    name, tag, digest = reference.split(text)
    if digest:
        return f"{canonical(name)}@{digest}"
    return f"{canonical(name)}:{tag or 'latest'}"


def _name(full: str) -> str:
    return reference.split(full)[0]


def _file_name(full: str) -> str:
    return full.replace("/", "_").replace(":", "-")


def _folder(context: Context, full: str) -> str:
    return os.path.join(context.config_folder, "manifests", _file_name(full))


def _members(folder: str) -> list[dict[str, Any]]:
    if not os.path.isdir(folder):
        return []
    return [_read(os.path.join(folder, name)) for name in sorted(os.listdir(folder))]


def _read(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as f:
        document: dict[str, Any] = jsontext.loads(f.read())
    return document


def _write(folder: str, member: dict[str, Any]) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, _file_name(member["Name"]))
    unfinished = f"{folder}.{os.getpid()}.tmp"
    with open(unfinished, "w", encoding="utf-8") as f:
        f.write(jsontext.dumps(member))
    os.rename(unfinished, path)


def _list_of(members: list[dict[str, Any]]) -> dict[str, Any]:
    oci = all("oci" in member["Descriptor"]["mediaType"] for member in members)
    return {
        "schemaVersion": 2,
        "mediaType": _LISTS[0] if oci else _LISTS[1],
        "manifests": [member["Descriptor"] for member in members],
    }


def _show(document: object, indent: str = "\t") -> None:
    out(jsontext.dumps_indented(document, indent) + "\n")


_INSECURE = Flag("insecure", "bool", "Allow communication with an insecure registry", hidden=True)

CREATE = Command(
    "MANIFEST_LIST MANIFEST [MANIFEST...]",
    create,
    (Flag("amend", "bool", "Amend an existing manifest list", "a"), _INSECURE),
    least=2,
    most=UNLIMITED,
)
ANNOTATE = Command(
    "[OPTIONS] MANIFEST_LIST MANIFEST",
    annotate,
    (
        Flag("arch", "string", "Set architecture"),
        Flag("os", "string", "Set operating system"),
        Flag("os-features", "strings", "Set operating system feature"),
        Flag("os-version", "string", "Set operating system version"),
        Flag("variant", "string", "Set architecture variant"),
    ),
    least=2,
    most=2,
)
INSPECT = Command(
    "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    inspect,
    (_INSECURE, Flag("verbose", "bool", "Output additional info including layers and platform", "v")),
    least=1,
    most=2,
)
PUSH = Command(
    "[OPTIONS] MANIFEST_LIST",
    push,
    (_INSECURE, Flag("purge", "bool", "Remove the local manifest list after push", "p")),
    least=1,
    most=1,
)
REMOVE = Command("MANIFEST_LIST [MANIFEST_LIST...]", remove, least=1, most=UNLIMITED)
