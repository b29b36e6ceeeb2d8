"""OCI layouts in directories, as archives to the engine and from it (image-spec, image-layout.md)."""

from __future__ import annotations

import json
import os
import re
import tarfile

from corten.cli.errors import ExitError
from corten.cli.pieces import PieceReader
from corten.cli.tarstream import END, TarStream, single_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, Any

_BLOB = re.compile(r"blobs/[a-z0-9+._-]+/[a-zA-Z0-9=_-]+")
_REF_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"
_INDEX = "application/vnd.oci.image.index.v1+json"
_EMPTY: dict[str, Any] = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": []}
_MARK = '{"imageLayoutVersion": "1.0.0"}'


def read(directory: str, name: str) -> Iterator[bytes]:
    """The layout as a tar; of index.json what is called `name` only, unless that is "". Raises ExitError."""
    index = _index(directory)
    if name:
        index["manifests"] = [each for each in index["manifests"] if name in _names(each)]
    if not index["manifests"]:
        raise ExitError(
            f"no image {name!r} in the layout {directory}" if name else f"{directory} has no images"
        )
    tar = TarStream(attributes=False)
    top = os.path.join(directory, "blobs")
    for parent, _, files in sorted(os.walk(top)):
        for file in sorted(files):
            path = os.path.join(parent, file)
            yield from tar.entry(path, os.path.relpath(path, directory))
    yield from single_file("index.json", json.dumps(index).encode())
    yield from single_file("oci-layout", _MARK.encode())
    yield END


def write(directory: str, pieces: Iterable[bytes], name: str) -> None:
    """Add the images of an archive to the layout, which is made if it is not there.

    name: what they are called there instead; they replace what was called so. Raises ExitError.
    """
    try:
        added = _unpacked(directory, pieces)
        for each in added:
            if name:
                each["annotations"] = {**each.get("annotations", {}), _REF_NAME: name}
        ours = {label for each in added for label in _names(each)}
        index = _index(directory) if os.path.exists(os.path.join(directory, "index.json")) else _EMPTY
        kept = [each for each in index["manifests"] if not ours & _names(each) and each not in added]
        _put(os.path.join(directory, "oci-layout"), [_MARK.encode()])
        _put(
            os.path.join(directory, "index.json"),
            [json.dumps({**index, "manifests": [*kept, *added]}).encode()],
        )
    except (OSError, tarfile.TarError) as e:
        raise ExitError(f"failed to write the layout {directory}: {e}") from e


def _unpacked(directory: str, pieces: Iterable[bytes]) -> list[dict[str, Any]]:
    """Write the archive's blobs; what its index lists."""
    added: list[dict[str, Any]] = []
    with tarfile.open(fileobj=PieceReader(pieces), mode="r|") as tar:
        for entry in tar:
            file = tar.extractfile(entry) if entry.isfile() else None
            if file is None:
                continue
            if entry.name == "index.json":
                added = json.load(file)["manifests"]
            elif _BLOB.fullmatch(entry.name):
                path = os.path.join(directory, entry.name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if not os.path.exists(path):
                    _put(path, _read(file))
    return added


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(1 << 20):
        yield piece


def _put(path: str, pieces: Iterable[bytes]) -> None:
    """A file that is there only when it is whole."""
    unfinished = f"{path}.{os.getpid()}.tmp"
    try:
        with open(unfinished, "wb") as out:
            for piece in pieces:
                out.write(piece)
        os.rename(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.unlink(unfinished)


def _index(directory: str) -> dict[str, Any]:
    try:
        with open(os.path.join(directory, "index.json"), "rb") as file:
            index: dict[str, Any] = json.load(file)
    except (OSError, ValueError) as e:
        raise ExitError(f"{directory} is no OCI layout: {e}") from e
    if not isinstance(index, dict) or not isinstance(index.get("manifests"), list):
        raise ExitError(f"{directory} is no OCI layout: its index.json lists nothing")
    return index


def _names(descriptor: dict[str, Any]) -> set[str]:
    said = descriptor.get("annotations") or {}
    return {said[key] for key in (_REF_NAME, _CONTAINERD_NAME) if said.get(key)}
