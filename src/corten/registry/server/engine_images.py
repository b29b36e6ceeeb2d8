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
from collections.abc import Iterator
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
from corten.registry.server.errors import WouldWait
from corten.registry.server.messages import FileBody, OpenFile
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
        self._made: dict[str, str] = {}  # images by the digests of the manifests that they got here

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

    def _names(self, repository: str) -> tuple[str, str]:
        """The engine's names in the repository are those from the first on and below the second.

        ":" and "@" follow a repository, with nothing between them that a name may contain, and "A" is next.
        """
        ranges = [(f"{name}:", f"{name}A") for name in _names_for(repository)]
        for each in ranges:
            if self._query("SELECT 1 FROM names WHERE name >= ? AND name < ? LIMIT 1", *each):
                return each
        return ranges[0]

    def _shows(self, repository: str, image_id: str) -> bool:
        """Whether an image has a name in the repository, or is another platform's below one that has."""
        sql = "SELECT 1 FROM names WHERE image_id = ? AND name >= ? AND name < ? LIMIT 1"
        if self._query(sql, image_id, *self._names(repository)):
            return True
        rows = self._query(
            "SELECT manifest_digest FROM images WHERE id = ? AND manifest_digest NOTNULL AND NOT hidden",
            image_id,
        )
        return any(self._lists(repository, row["manifest_digest"]) for row in rows)

    def _lists(self, repository: str, digest: str) -> bool:
        """Whether an index that a name in the repository stands for has such a member."""
        rows = self._query(
            "SELECT document FROM indexes WHERE name >= ? AND name < ? AND instr(document, ?)",
            *self._names(repository),
            digest,
        )
        return any(
            digest == member.digest for row in rows for member in decode_index(row["document"]).manifests
        )

    # -- content --------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> StoredManifest | None:
        """What a tag or digest stands for; the manifest is made anew for images that came without one."""
        first, end = self._names(repository)
        if ":" not in reference:
            rows = self._query(
                "SELECT image_id, digest, media_type, document FROM names LEFT JOIN indexes USING (name)"
                " WHERE name = ?",
                f"{first}{reference}",
            )
            if not rows:
                return None
            if self._is_whole(rows[0]["document"]):
                return _index_of(rows[0])
            return self._manifest_of(rows[0]["image_id"])
        for row in self._query(
            "SELECT digest, media_type, document FROM indexes"
            " WHERE digest = ? AND name >= ? AND name < ? LIMIT 1",
            reference, first, end,
        ):  # fmt: skip
            return _index_of(row)
        return self._attestation(repository, Digest(reference)) or self._image(repository, reference)

    def _image(self, repository: str, digest: str) -> StoredManifest | None:
        """An image's manifest by its digest."""
        for image_id in self._candidates(repository, digest):
            found = self._manifest_of(image_id)
            if found is not None and found.digest == digest:
                return found
        return None

    def _candidates(self, repository: str, digest: str) -> Iterator[str]:
        """Images whose manifest it may be, the likeliest first."""
        likely = [row["id"] for row in self._query("SELECT id FROM images WHERE manifest_digest = ?", digest)]
        likely += [self._made[digest]] if digest in self._made else []
        yield from (image_id for image_id in likely if self._shows(repository, image_id))
        # One that a registry before us may have made.
        sql = "SELECT DISTINCT image_id FROM names WHERE name >= ? AND name < ?"
        yield from (row["image_id"] for row in self._query(sql, *self._names(repository)))

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
        sql = "SELECT 1 FROM attestations WHERE manifest = ? AND blob = ?"
        if not self._query(sql, digest, digest) or not self._lists(repository, digest):
            return None
        with suppress(FileNotFoundError):
            raw = Path(self._blob_path(digest)).read_bytes()
            return StoredManifest(digest=digest, media_type=kind_of(raw, ""), raw=raw)
        return None

    def _manifest_of(self, image_id: str) -> StoredManifest | None:
        rows = self._query("SELECT config, manifest FROM images WHERE id = ?", image_id)
        if not rows:
            return None
        raw, layers = rows[0]["manifest"], self._layers(image_id)
        if raw is None or not self._complete(raw):
            raw = self._make_manifest(rows[0]["config"], layers)
            self._made[digest_of(raw)] = image_id
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

    def _layer_tar(self, diff_id: Digest, directory: str, *, may_wait: bool = True) -> str:
        """The layer as a tar: the engine's, or one among our own blobs, made on first demand."""
        if directory.endswith(Erofs.suffix):
            return os.path.join(self._root, "layers", directory, TAR)
        path = self._storage.path(diff_id)
        if os.path.exists(path):
            return path
        if not may_wait:
            raise WouldWait
        with self._making:
            if not os.path.exists(path):
                self._make_tar(diff_id, directory)
        return path

    def _make_tar(self, diff_id: Digest, directory: str) -> None:
        upload = self._storage.start_upload()
        path = os.path.join(self._root, "layers", directory)
        source = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self._storage.appending(upload) as fd:
                tar_of(source, partial(write_all, fd), overlay=True)
        finally:
            os.close(source)
        self._storage.finish(upload, diff_id)

    def blob(self, repository: str, digest: Digest, *, may_wait: bool = True) -> FileBody | None:
        """A config or layer of an image that has a name in the repository, or of what attests it.

        Raises WouldWait if it has yet to be made.
        """
        for row in self._query(
            "SELECT id, config, NULL AS blob, NULL AS directory FROM images WHERE id = ?1"
            " UNION ALL SELECT image_id, NULL, blob, directory FROM image_layers JOIN layers USING (diff_id)"
            " WHERE blob = ?1 OR diff_id = ?1",
            digest,
        ):
            if not self._shows(repository, row["id"]):
                continue
            if row["config"] is not None:
                return _in_memory(row["config"])
            if row["blob"] == digest:
                return _opened(self._blob_path(digest))
            return _opened(self._layer_tar(digest, row["directory"], may_wait=may_wait))
        attesting = self._query("SELECT manifest FROM attestations WHERE blob = ?", digest)
        if any(self._lists(repository, row["manifest"]) for row in attesting):
            return _opened(self._blob_path(digest))
        return None

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


def _in_memory(data: bytes) -> FileBody:
    fd = os.memfd_create("document", os.MFD_CLOEXEC)
    os.write(fd, data)
    return FileBody(OpenFile(fd), 0, len(data))


def _opened(path: str) -> FileBody | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    return FileBody(OpenFile(fd), 0, os.fstat(fd).st_size)
