"""`corten builder export`, `import` and caches of type=local: the build cache in files on this machine."""

from __future__ import annotations

import os
import re
from functools import partial

from corten.cli.command import Command
from corten.cli.context import Context, err, out, write_all
from corten.cli.errors import ExitError
from corten.cli.files import write_file
from corten.cli.flags import Flag, Options
from corten.cli.pieces import PieceReader
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

TOLD = "corten.build.cache"
"""The id of the message that says what a build's cache consists of: {dest, keys}."""

_CHUNK_BYTES = 1 << 20
_PARTS = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")
_TAR = {"Content-Type": "application/x-tar"}


def export(context: Context, options: Options, _: list[str]) -> int:
    """Write the whole cache to a file (which appears only when it is whole) or to stdout."""
    path = options["output"]
    if not path and os.isatty(1):
        raise ExitError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    response = context.engine.call("POST", "/build/cache/export")
    if path:
        write_file(path, response, "failed to export the build cache")
        return 0
    for piece in response:
        write_all(1, piece)
    return 0


def import_tar(context: Context, _: Options, arguments: list[str]) -> int:
    """Take in what has been exported, from a file or stdin."""
    source = arguments[0] if arguments else "-"
    if source == "-" and os.isatty(0):
        raise ExitError("requested import from stdin, but stdin is a terminal")
    try:
        fd = 0 if source == "-" else os.open(source, os.O_RDONLY)
    except OSError as e:
        raise ExitError(f"open {source}: {(e.strerror or '').lower()}") from e
    out(f"Imported build cache records: {_send(context, iter(lambda: os.read(fd, _CHUNK_BYTES), b''))}\n")
    return 0


def _send(context: Context, body: Iterable[bytes]) -> int:
    response = context.engine.call("POST", "/build/cache/import", {}, body, _TAR)
    return int(jsontext.loads(b"".join(response)).get("Records", 0))


class LocalCaches:
    """What a build's --cache-from and --cache-to say of type=local."""

    def __init__(self, options: Options) -> None:
        """Raises ExitError."""
        self._sources = [_field(item, "src") for item in options.items("cache-from") if is_local(item)]
        self._targets = [_field(item, "dest") for item in options.items("cache-to") if is_local(item)]
        if "" in self._sources:
            raise ExitError("local cache importer requires src")
        if "" in self._targets:
            raise ExitError("local cache exporter requires dest")
        self._told: list[dict[str, Any]] = []

    @property
    def wanted(self) -> bool:
        """Whether they say anything."""
        return bool(self._sources or self._targets)

    def bring(self, context: Context) -> None:
        """Have the engine take them in; one that is not there is told of and left out."""
        from corten.cli.tarstream import END, TarStream

        for source in self._sources:
            if not os.path.exists(os.path.join(source, "index.json")):
                err(f"WARNING: no build cache in {source}\n")
                continue

            def body(source: str = source) -> Iterator[bytes]:
                stream = TarStream(attributes=False)
                for above, _, names in os.walk(source):
                    for name in names:
                        path = os.path.join(above, name)
                        yield from stream.entry(path, os.path.relpath(path, source))
                yield END

            _send(context, body())

    def take(self, aux: dict[str, Any]) -> None:
        """The engine says what is to be exported. Raises ExitError: where to is not its business."""
        if aux["dest"] not in self._targets:
            raise ExitError(f"the engine wants to write to {aux['dest']}, which nobody asked for")
        self._told.append(aux)

    def keep(self, context: Context) -> None:
        """Write what has been told of."""
        for told in self._told:
            body = jsontext.dumps({"Keys": told["keys"]}).encode()
            headers = {"Content-Type": "application/json"}
            _unpack(context.engine.call("POST", "/build/cache/export", {}, body, headers), str(told["dest"]))


def is_local(item: str) -> bool:
    """Whether an item of --cache-from or --cache-to is of this kind."""
    return _field(item, "type") == "local"


def _field(item: str, name: str) -> str:
    import csv

    pairs = (word.partition("=") for word in next(csv.reader([item]), []))
    return next((value for key, _, value in pairs if key.strip().lower() == name), "")


def _unpack(response: Iterable[bytes], directory: str) -> None:
    """An OCI layout out of a tar. index.json is replaced last: it names only what is there."""
    import tarfile

    with tarfile.open(fileobj=PieceReader(response), mode="r|") as archive:
        index = b""
        for member in archive:
            content = archive.extractfile(member) if _PARTS.fullmatch(member.name) else None
            if content is None:
                continue
            if member.name == "index.json":
                index = content.read()
                continue
            path = os.path.join(directory, member.name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write(path, iter(partial(content.read, _CHUNK_BYTES), b""))
    _write(os.path.join(directory, "index.json"), [index])


def _write(path: str, pieces: Iterable[bytes]) -> None:
    """Everybody may read it, as in buildx's caches."""
    with open(f"{path}.part", "wb") as file:
        file.writelines(pieces)
    os.replace(f"{path}.part", path)


EXPORT = Command(
    "[OPTIONS]",
    export,
    (Flag("output", "string", "Write to a file, instead of STDOUT", "o"),),
    note="An OCI layout in a tar; unpacked it is a cache of type=local. Cache mounts that are volumes go by "
    "`corten volume export`.",
)
IMPORT = Command("[FILE|-]", import_tar, (), most=1)
