"""Whether ledger and disk of the image store agree, and making them agree again.

The disk is read in a thread while everything goes on; what looks wrong is looked at once more on the event
loop, where rows and directories change together, before it is called a finding. Contents of blobs, and of
layers kept as tars, are hashed; of extracted layers only their presence is known.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from corten.digest import Digest, digest_of, hex_of
from corten.images.blocking import run_blocking
from corten.images.catalogue import ImageCatalogue
from corten.images.collect import Collector
from corten.snapshots.layers import is_layer_directory

_READ = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One disagreement. kind: blob, layer, image, ...; subject: which one; problem: what is wrong with it."""

    kind: str
    subject: str
    problem: str


class StoreCheck:
    """One check of the store. `run`, and then perhaps `repair`."""

    def __init__(self, store: ImageCatalogue, collector: Collector) -> None:
        self._store = store
        self._collector = collector
        self._bad_blobs: set[Digest] = set()
        self._bad_layers: set[Digest] = set()
        self._bad_images: set[Digest] = set()
        self._stray: list[str] = []

    async def run(self, *, contents: bool) -> list[Finding]:
        """Everything that is wrong. contents: hash what can be hashed."""
        findings = self._ledger()
        damaged = await run_blocking(self._damaged) if contents else []
        findings += self._blobs(damaged)
        findings += self._layers(damaged)
        findings += self._images()
        return findings

    def _ledger(self) -> list[Finding]:
        found = []
        for row in self._store.ledger.query("PRAGMA quick_check"):
            if row[0] != "ok":
                found.append(Finding(kind="ledger", subject="meta.db", problem=str(row[0])))
        for row in self._store.ledger.query("PRAGMA foreign_key_check"):
            found.append(Finding(kind="ledger", subject=str(row[0]), problem=f"refers to a missing {row[2]}"))
        return found

    # -- in a thread ----------------------------------------------------------------------------

    def _damaged(self) -> list[str]:
        """Digests of blobs and of layers' tars that no longer have them."""
        reader = self._store.ledger.reader()
        try:
            blobs = [row["digest"] for row in reader.query("SELECT digest FROM blobs")]
            layers = reader.query("SELECT diff_id, directory FROM layers")
        finally:
            reader.close()
        files = [(digest, self._store.blobs.path(Digest(digest))) for digest in blobs]
        for row in layers:
            tar = self._store.layers.tar_in(row["directory"])
            if tar is not None:
                files.append((row["diff_id"], tar))
        return [digest for digest, path in files if not _has_digest(path, digest)]

    # -- on the loop ----------------------------------------------------------------------------

    def _blobs(self, damaged: Iterable[str]) -> list[Finding]:
        found = []
        wrong = set(damaged)
        rows = {
            row["digest"]: row["size"] for row in self._store.ledger.query("SELECT digest, size FROM blobs")
        }
        here = {str(digest) for digest in self._store.blobs}
        for digest, size in sorted(rows.items()):
            problem = ""
            if digest not in here:
                problem = "file is missing"
            elif (actual := self._store.blobs.size(Digest(digest))) != size:
                problem = f"file has {actual} bytes instead of {size}"
            elif digest in wrong:
                problem = "content is not what its digest says"
            if problem:
                self._bad_blobs.add(Digest(digest))
                found.append(Finding(kind="blob", subject=digest, problem=problem))
        for digest in sorted(here - set(rows) - set(self._store.pinned_blobs)):
            self._stray.append(self._store.blobs.path(Digest(digest)))
            found.append(Finding(kind="blob", subject=digest, problem="file belongs to nobody"))
        for path in sorted(self._store.partial.strays()):
            name = os.path.basename(path)
            if f"sha256:{name}" not in self._store.pinned_blobs:
                self._stray.append(path)
                found.append(Finding(kind="partial blob", subject=name, problem="file belongs to nobody"))
        return found

    def _layers(self, damaged: Iterable[str]) -> list[Finding]:
        found = []
        wrong = set(damaged)
        root = self._store.layers.root
        here = {entry.name for entry in os.scandir(root) if is_layer_directory(entry)}
        rows = {
            row["diff_id"]: row["directory"]
            for row in self._store.ledger.query("SELECT diff_id, directory FROM layers")
        }
        for diff_id, directory in sorted(rows.items()):
            problem = ""
            if directory not in here:
                problem = "directory is missing"
            elif diff_id in wrong:
                problem = "content is not what its digest says"
            if problem:
                self._bad_layers.add(Digest(diff_id))
                found.append(Finding(kind="layer", subject=diff_id, problem=problem))
        for directory in sorted(here - set(rows.values())):
            self._stray.append(os.path.join(root, directory))
            found.append(Finding(kind="layer", subject=directory, problem="directory belongs to nobody"))
        for row in self._store.ledger.query(
            "SELECT owner, key FROM leases WHERE kind = 'layer' AND key NOT IN (SELECT diff_id FROM layers)"
        ):
            found.append(
                Finding(kind="lease", subject=row["owner"], problem=f"holds a missing layer {row['key']}")
            )
        return found

    def _images(self) -> list[Finding]:
        found = []
        for row in self._store.ledger.query("SELECT id, config, manifest, manifest_digest FROM images"):
            problem = ""
            if digest_of(row["config"]) != row["id"]:
                problem = "configuration is not what its id says"
            elif row["manifest"] is not None and digest_of(row["manifest"]) != row["manifest_digest"]:
                problem = "manifest is not what its digest says"
            if problem:
                self._bad_images.add(Digest(row["id"]))
                found.append(Finding(kind="image", subject=row["id"], problem=problem))
        return found

    def repair(self) -> set[str]:
        """Make ledger and disk agree: what is damaged goes, with the images that need it, and what is stray.

        Blobs that are lost cost nothing but compressing again. Everything that goes can be pulled or built
        again. What containers use stays as it is. Returns the subjects that are left alone.
        """
        used = self._used()
        self._collector.drop_blobs(self._bad_blobs)
        self._collector.drop_layers(self._bad_layers - used)
        self._collector.drop_images(self._bad_images - used)
        with self._store.ledger.transaction():
            self._store.ledger.execute(
                "DELETE FROM leases WHERE kind = 'layer' AND key NOT IN (SELECT diff_id FROM layers)"
            )
        self._collector.trash(self._stray)
        self._collector.collect()
        return {*(self._bad_layers & used), *(self._bad_images & used)}

    def _used(self) -> set[Digest]:
        """Images of containers, and their layers."""
        rows = self._store.ledger.query(
            "SELECT image_id AS held FROM containers WHERE image_id IS NOT NULL"
            " UNION SELECT diff_id FROM image_layers JOIN containers USING (image_id)"
        )
        return {Digest(row["held"]) for row in rows}


def _has_digest(path: str, digest: str) -> bool:
    """Whether a file's content has the digest; what is not there is somebody else's finding."""
    value = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while data := file.read(_READ):
                value.update(data)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # a disk that cannot be read
    return value.hexdigest() == hex_of(digest)
