"""Garbage collection of layers, blobs and hidden images, and putting the store right at start.

What may go is decided by `corten.metadata.gc` alone. What goes leaves the ledger first, is then renamed
into <root>/tmp and handed to `dispose`, which unlinks at leisure; a crash in between leaves files that
belong to nobody, which `restore` finds.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from typing import TypeAlias

from corten.digest import Digest
from corten.images.catalogue import ImageCatalogue
from corten.images.diskusage import StoreUsage
from corten.images.image import Image
from corten.linux.deletion import delete_tree
from corten.metadata import unreachable
from corten.snapshots.layers import is_layer_directory

log = logging.getLogger(__name__)

Dispose: TypeAlias = Callable[[str], None]
"""Takes over a path in <root>/tmp and deletes it some time; must not block."""

_Node: TypeAlias = "tuple[str, str]"  # ("image" | "layer" | "blob", key)


def dispose_in_thread(path: str) -> None:
    """A Dispose for engines without a janitor."""
    threading.Thread(target=_delete, args=(path,), name="dispose", daemon=True).start()


def _delete(path: str) -> None:
    try:
        delete_tree(path)
    except OSError as e:
        log.warning("could not delete", extra={"path": path, "errno": e.errno})


class Collector:
    """Deletes what no image, container, lease or pin holds."""

    def __init__(self, store: ImageCatalogue, dispose: Dispose = dispose_in_thread) -> None:
        self._store = store
        self._ledger = store.ledger
        self._dispose = dispose
        self.disk = StoreUsage(store)

    def forget(self, image_id: Digest) -> None:
        """Take an image out of the catalogue; while containers use it, it only becomes invisible."""
        with self._ledger.transaction():
            self._ledger.execute("DELETE FROM names WHERE image_id = ?", (image_id,))
            if self._store.usage.container_using(image_id) is None:
                self._ledger.execute("DELETE FROM images WHERE id = ?", (image_id,))
            else:
                self._ledger.execute("UPDATE images SET hidden = 1 WHERE id = ?", (image_id,))

    def layers_only_of(self, image: Image) -> int:
        """How many of the image's uppermost layers no other image has in the same stack."""
        if not image.layers or self._store.usage.container_using(image.id) is not None:
            return 0
        rows = self._ledger.query(
            "SELECT image_id, diff_id FROM image_layers WHERE image_id IN"
            " (SELECT image_id FROM image_layers WHERE position = 0 AND diff_id = ? AND image_id <> ?)"
            " ORDER BY image_id, position",
            (image.layers[0].diff_id, image.id),
        )
        stacks: dict[str, list[str]] = {}
        for row in rows:
            stacks.setdefault(row["image_id"], []).append(row["diff_id"])
        shared = max((_common(stack, image.diff_ids) for stack in stacks.values()), default=0)
        return len(image.layers) - shared

    def collect(self) -> None:
        """Delete everything that nothing holds."""
        self._forget_attestations()
        gone = unreachable(*self._graph())
        if not gone:
            return
        paths: list[str] = []
        with self._ledger.transaction():
            for _, image_id in _of_kind(gone, "image"):
                self._ledger.execute("DELETE FROM images WHERE id = ?", (image_id,))
            for _, diff_id in _of_kind(gone, "layer"):
                paths.append(self._store.layers.retire(Digest(diff_id)))
                self._ledger.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))
            for _, digest in _of_kind(gone, "blob"):
                paths.append(self._store.blobs.path(Digest(digest)))
                self._ledger.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
        self.trash(paths)

    def _forget_attestations(self) -> None:
        """Those that no name's index lists any more."""
        known = [row["manifest"] for row in self._ledger.query("SELECT DISTINCT manifest FROM attestations")]
        if known:
            held = self._store.indexes.held()
            gone = [(manifest,) for manifest in known if manifest not in held]
            self._ledger.executemany("DELETE FROM attestations WHERE manifest = ?", gone)

    def _graph(self) -> tuple[list[_Node], list[_Node], dict[_Node, list[_Node]]]:
        """(what could go, what holds by itself, who holds what)."""
        query = self._ledger.query
        hidden: list[_Node] = [("image", r["id"]) for r in query("SELECT id FROM images WHERE hidden")]
        nodes = (
            hidden
            + [("layer", r["diff_id"]) for r in query("SELECT diff_id FROM layers")]
            + [("blob", r["digest"]) for r in query("SELECT digest FROM blobs")]
        )
        roots: list[_Node] = [("image", r["id"]) for r in query("SELECT id FROM images WHERE NOT hidden")]
        roots += [node for node in hidden if self._store.usage.container_using(Digest(node[1])) is not None]
        roots += [(r["kind"], r["key"]) for r in query("SELECT kind, key FROM leases")]
        roots += [("layer", diff_id) for diff_id in self._store.layers.pinned]
        roots += [("blob", digest) for digest in self._store.pinned_blobs]
        roots += [("blob", r["blob"]) for r in query("SELECT blob FROM attestations")]
        edges: dict[_Node, list[_Node]] = {}
        for row in query("SELECT image_id, diff_id, blob FROM image_layers"):
            held = edges.setdefault(("image", row["image_id"]), [])
            held.append(("layer", row["diff_id"]))
            if row["blob"] is not None:
                held.append(("blob", row["blob"]))
        return nodes, roots, edges

    def trash(self, paths: Iterable[str]) -> None:
        """Move files and directories away, to be deleted at leisure; what is gone already is fine."""
        for path in paths:
            trash = os.path.join(self._store.tmp, f"trash-{secrets.token_hex(8)}")
            try:
                os.rename(path, trash)
            except FileNotFoundError:
                continue
            self._dispose(trash)

    def restore(self) -> None:
        """Put right what a crash or power cut left; at start, before anything else uses the store.

        Afterwards every layer and blob has a row and every row its file. Images whose layers are gone,
        or were never synced before a reboot, are gone.
        """
        self._empty_tmp()
        store, query = self._store, self._ledger.query
        on_disk = {entry.name for entry in os.scandir(store.layers.root) if is_layer_directory(entry)}
        rows = {r["directory"]: r["diff_id"] for r in query("SELECT directory, diff_id FROM layers")}
        lost = {diff_id for directory, diff_id in rows.items() if directory not in on_disk}
        lost.update(store.layers.doubtful())
        self.drop_layers(lost)
        self.trash(os.path.join(store.layers.root, name) for name in on_disk - set(rows))
        self._restore_blobs()
        self.collect()

    def drop_layers(self, lost: Iterable[str]) -> None:
        """Forget layers that are lost or damaged, with the images that need them."""
        paths = []
        with self._ledger.transaction():
            for diff_id in sorted(lost):
                log.warning("layer lost", extra={"diff_id": diff_id})
                paths.append(self._store.layers.retire(Digest(diff_id)))
                for row in self._ledger.query(
                    "SELECT DISTINCT image_id FROM image_layers WHERE diff_id = ?", (diff_id,)
                ):
                    self._drop_image(row["image_id"])
                self._ledger.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))
        self.trash(paths)

    def _drop_image(self, image_id: str) -> None:
        # Containers keep their row: the engine reports them as dead for want of their image.
        self._ledger.execute("UPDATE containers SET image_id = NULL WHERE image_id = ?", (image_id,))
        self._ledger.execute("DELETE FROM names WHERE image_id = ?", (image_id,))
        self._ledger.execute("DELETE FROM images WHERE id = ?", (image_id,))

    def drop_images(self, image_ids: Iterable[Digest]) -> None:
        """Forget images that are damaged, used or not."""
        with self._ledger.transaction():
            for image_id in image_ids:
                self._drop_image(image_id)

    def drop_blobs(self, digests: Iterable[Digest]) -> None:
        """Forget blobs that are lost or damaged; their layers stay."""
        gone = list(digests)
        with self._ledger.transaction():
            for digest in gone:
                self._ledger.execute("UPDATE image_layers SET blob = NULL WHERE blob = ?", (digest,))
                self._ledger.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
        self.trash(self._store.blobs.path(digest) for digest in gone)

    def _restore_blobs(self) -> None:
        on_disk = {str(digest) for digest in self._store.blobs}
        rows = self._ledger.query("SELECT digest, boot_id FROM blobs")
        here = self._store.layers.boot_id
        doubtful = {r["digest"] for r in rows if r["boot_id"] not in (None, here)}
        known = {r["digest"] for r in rows} - doubtful
        with self._ledger.transaction():
            for digest in (known - on_disk) | doubtful:
                self._ledger.execute("UPDATE image_layers SET blob = NULL WHERE blob = ?", (digest,))
                self._ledger.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
        self.trash(self._store.blobs.path(Digest(digest)) for digest in on_disk - known)

    def _empty_tmp(self) -> None:
        for entry in list(os.scandir(self._store.tmp)):
            self.trash([entry.path])


def _of_kind(nodes: Iterable[_Node], kind: str) -> list[_Node]:
    return sorted(node for node in nodes if node[0] == kind)


def _common(stack: Iterable[str], other: Iterable[str]) -> int:
    count = 0
    for one, two in zip(stack, other, strict=False):
        if one != two:
            break
        count += 1
    return count
