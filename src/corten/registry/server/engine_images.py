"""An engine's images as a registry serves them: read where they lie, never copied.

A repository `name` shows the images called `docker.io/NAME`, `docker.io/library/NAME` and `NAME` itself
(`example.com/team/app`). The ledger is opened read-only; the engine may run or not. What the engine deletes
while it is served is served to its end, because it is open.

A tag is the index that its name was pulled with, attestations included, if all that it lists is here; else
the image's own manifest. Images that were built here have directories, not blobs: their manifest is made when
it is first asked for, and their layers' tars are files of ours until we start anew.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from corten.digest import Digest, algorithm_of, digest_of, hex_of
from corten.errors import CortenError, NotFound
from corten.linux.files import write_all
from corten.metadata.ledger import Reader
from corten.oci.image import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    decode_index,
    decode_manifest,
    kind_of,
)
from corten.reference import DEFAULT_DOMAIN, InvalidReference, is_repository_path, parse_normalized
from corten.registry.server.catalogue import StoredManifest
from corten.registry.server.messages import FileBody
from corten.registry.server.storage import Storage
from corten.snapshots.erofs.unpack import TAR
from corten.snapshots.jobs import tar_of
from corten.snapshots.sinks import Erofs

_OFFICIAL = "library/"


class EngineImages:
    """The images of the engine at `root`, for anybody who may pull. Layers' tars go to `storage`."""

    def __init__(self, root: str, storage: Storage) -> None:
        """Raises NotFound if no engine has ever used this root."""
        ledger = os.path.join(root, "meta.db")
        if not os.path.exists(ledger):
            raise NotFound(f"{root} is no engine's root: it has no meta.db")
        self._root = root
        self._storage = storage
        self._ledger = Reader(ledger)
        self._lock = threading.RLock()  # the connection serves one thread at a time
        self._making = threading.Lock()

    def close(self) -> None:
        """Close the ledger."""
        with self._lock:
            self._ledger.close()

    def _query(self, sql: str, *parameters: str) -> list[sqlite3.Row]:
        with self._lock:
            return self._ledger.query(sql, parameters)

    # -- names ----------------------------------------------------------------------------------

    def tags(self, repository: str) -> list[str]:
        """The tags of its images in lexical order."""
        found = set()
        for name in _names_for(repository):
            # ":" sorts before ";": all names with this repository and any tag
            rows = self._query("SELECT name FROM names WHERE name >= ? AND name < ?", f"{name}:", f"{name};")
            found |= {row["name"][len(name) + 1 :] for row in rows}
        return sorted(found)

    def repositories(self) -> list[str]:
        """Repositories in lexical order, by the shortest name that the client can use."""
        found = set()
        for row in self._query("SELECT name FROM names"):
            with suppress(InvalidReference):
                reference = parse_normalized(row["name"])
                if reference.tag is not None and is_repository_path(name := _served_as(reference.name)):
                    found.add(name)
        return sorted(found)

    def _named(self, repository: str) -> list[sqlite3.Row]:
        """The names in the repository: of which image, and the index of each that stands for one."""
        for name in _names_for(repository):
            rows = self._query(
                "SELECT name, image_id, digest, media_type, document"
                " FROM names LEFT JOIN indexes USING (name)"
                " WHERE (name >= ? AND name < ?) OR (name >= ? AND name < ?)",
                f"{name}:", f"{name};", f"{name}@", f"{name}A",
            )  # fmt: skip
            if rows:
                return rows
        return []

    def _members(self, repository: str) -> dict[str, None]:
        """The digests of all manifests that the names' indexes list."""
        kept = {row["digest"]: row["document"] for row in self._named(repository) if row["document"]}
        return dict.fromkeys(m.digest for raw in kept.values() for m in decode_index(raw).manifests)

    def _image_ids(self, repository: str) -> dict[str, None]:
        """The images that have a name in the repository, and those of other platforms below it."""
        ids = dict.fromkeys(str(row["image_id"]) for row in self._named(repository))
        for digest in self._members(repository):
            rows = self._query("SELECT id FROM images WHERE manifest_digest = ? AND NOT hidden", digest)
            ids.update((row["id"], None) for row in rows)
        return ids

    # -- content --------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> StoredManifest | None:
        """What a tag or digest stands for; the manifest is made anew for images that came without one."""
        named = self._named(repository)
        if ":" not in reference:
            for row in named:
                if row["name"].endswith(f":{reference}"):
                    return (
                        _index_of(row)
                        if self._is_whole(row["document"])
                        else self._manifest_of(row["image_id"])
                    )
            return None
        for row in named:
            if row["digest"] == reference:
                return _index_of(row)
        for image_id in self._image_ids(repository):
            found = self._manifest_of(image_id)
            if found is not None and found.digest == reference:
                return found
        return self._attestation(repository, Digest(reference))

    def _is_whole(self, index: bytes | None) -> bool:
        """Whether everything that an index lists is here."""
        if index is None:
            return False
        for member in decode_index(index).manifests:
            if self._query("SELECT 1 FROM attestations WHERE manifest = ? LIMIT 1", member.digest):
                continue
            rows = self._query("SELECT manifest FROM images WHERE manifest_digest = ?", member.digest)
            if not any(self._complete(row["manifest"]) for row in rows):
                return False
        return True

    def _attestation(self, repository: str, digest: Digest) -> StoredManifest | None:
        if digest not in self._members(repository) or not self._attests(digest, digest):
            return None
        with suppress(FileNotFoundError):
            raw = Path(self._blob_path(digest)).read_bytes()
            return StoredManifest(digest=digest, media_type=kind_of(raw, ""), raw=raw)
        return None

    def _attests(self, manifest: str, blob: Digest) -> bool:
        """Whether a blob is part of an attestation."""
        sql = "SELECT 1 FROM attestations WHERE manifest = ? AND blob = ?"
        return bool(self._query(sql, manifest, blob))

    def _manifest_of(self, image_id: str) -> StoredManifest | None:
        rows = self._query("SELECT config, manifest FROM images WHERE id = ?", image_id)
        if not rows:
            return None
        raw, layers = rows[0]["manifest"], self._layers(image_id)
        if raw is None or not self._complete(raw):
            raw = self._make_manifest(rows[0]["config"], layers)
        return StoredManifest(digest=digest_of(raw), media_type=kind_of(raw, ""), raw=raw)

    def _layers(self, image_id: str) -> list[sqlite3.Row]:
        return self._query(
            "SELECT diff_id, blob, media_type, directory FROM image_layers JOIN layers USING (diff_id)"
            " WHERE image_id = ? ORDER BY position",
            image_id,
        )

    def _complete(self, raw: bytes) -> bool:
        """Whether the layers that a manifest names are here as they travelled."""
        with suppress(CortenError):
            return all(os.path.exists(self._blob_path(Digest(d.digest))) for d in decode_manifest(raw).layers)
        return False

    def _make_manifest(self, config: bytes, layers: list[sqlite3.Row]) -> bytes:
        descriptors = []
        for layer in layers:
            digest, path, kind = layer["blob"], "", layer["media_type"]
            if digest is not None:
                path = self._blob_path(digest)
            if not path or not os.path.exists(path):
                digest, kind = layer["diff_id"], OCI_LAYER
                path = self._layer_tar(digest, layer["directory"])
            size = os.stat(path).st_size
            descriptors.append(Descriptor(media_type=kind or OCI_LAYER, digest=digest, size=size))
        return msgspec.json.encode(
            Manifest(
                schema_version=2,
                media_type=OCI_MANIFEST,
                config=Descriptor(media_type=OCI_CONFIG, digest=digest_of(config), size=len(config)),
                layers=descriptors,
            )
        )

    def _layer_tar(self, diff_id: Digest, directory: str) -> str:
        """The layer as a tar: the engine's, or one among our own blobs, made on first demand."""
        if directory.endswith(Erofs.suffix):
            return os.path.join(self._root, "layers", directory, TAR)
        path = self._storage.path(diff_id)
        with self._making:
            if not os.path.exists(path):
                upload = self._storage.start_upload()
                source = os.open(
                    os.path.join(self._root, "layers", directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                )
                try:
                    with self._storage.appending(upload) as fd:
                        tar_of(source, partial(write_all, fd), overlay=True)
                finally:
                    os.close(source)
                self._storage.finish(upload, diff_id)
        return path

    def blob(self, repository: str, digest: Digest) -> FileBody | None:
        """A config or layer of an image that has a name in the repository, or of what attests it."""
        for image_id in self._image_ids(repository):
            if image_id == digest:
                return self._config(image_id)
            for layer in self._layers(image_id):
                if digest == layer["blob"]:
                    return _opened(self._blob_path(digest))
                if digest == layer["diff_id"]:
                    return _opened(self._layer_tar(digest, layer["directory"]))
        if any(self._attests(manifest, digest) for manifest in self._members(repository)):
            return _opened(self._blob_path(digest))
        return None

    def _config(self, image_id: str) -> FileBody | None:
        rows = self._query("SELECT config FROM images WHERE id = ?", image_id)
        if not rows:
            return None
        fd = os.memfd_create("config", os.MFD_CLOEXEC)
        os.write(fd, rows[0]["config"])
        return FileBody(fd, 0, len(rows[0]["config"]))

    def _blob_path(self, digest: Digest) -> str:
        return os.path.join(self._root, "blobs", algorithm_of(digest), hex_of(digest))

    def share(self, digest: Digest, path: str) -> None:
        """Let our file of a blob and the engine's be one, if the engine has it on the same file system."""
        temporary = f"{path}.{secrets.token_hex(4)}"
        with suppress(OSError):
            os.link(self._blob_path(digest), temporary)
            os.rename(temporary, path)
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # they were one already: then rename(2) does nothing


def _index_of(row: sqlite3.Row) -> StoredManifest:
    return StoredManifest(digest=row["digest"], media_type=row["media_type"], raw=row["document"])


def _names_for(repository: str) -> list[str]:
    """The engine's names that a repository may show, the likelier first."""
    names = [f"{DEFAULT_DOMAIN}/{repository}"]
    first, slash, _ = repository.partition("/")
    if not slash:
        names.insert(0, f"{DEFAULT_DOMAIN}/{_OFFICIAL}{repository}")
    elif "." in first or first == "localhost":
        names.insert(0, repository)
    return names


def _served_as(name: str) -> str:
    """The repository's path for an engine's name."""
    return name.removeprefix(f"{DEFAULT_DOMAIN}/")


def _opened(path: str) -> FileBody | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    return FileBody(fd, 0, os.fstat(fd).st_size)
