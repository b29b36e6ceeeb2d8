"""The catalogue of images: names, ids, documents. Quick calls, all on the event loop's thread.

What takes long (pull, load, import, save, commit) lies in modules of its own that work on this class.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from sqlite3 import Row
from typing import Protocol, TypeAlias

from corten.content import BlobStore, PartialBlobs
from corten.digest import Digest, digest_of, is_digest
from corten.errors import NoSuchImage, NotFound
from corten.images.image import Image, ImageLayer
from corten.images.indexes import Indexes
from corten.metadata import Ledger
from corten.oci.image import ImageConfig, InvalidDocument, decode_config
from corten.platforms import Platform, best_match
from corten.reference import InvalidReference, Reference, parse_normalized
from corten.snapshots.layers import DirectoryLayers
from corten.snapshots.workers import WorkerPool

OnEvent: TypeAlias = Callable[[str, str, dict[str, str]], None]
"""Called as (action, actor id, attributes) for every image event, e.g. ("tag", id, {"name": "x:latest"})."""


class ContainerUsage(Protocol):
    """Who uses an image; asked before it is removed."""

    def container_using(self, image_id: Digest, *, running: bool | None = None) -> str | None:
        """The id of a container of this image, or None. running: only (not) running ones."""


class LedgerUsage:
    """ContainerUsage as the ledger's containers table has it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def container_using(self, image_id: Digest, *, running: bool | None = None) -> str | None:
        """See ContainerUsage."""
        condition = {
            None: "1",
            True: "status IN ('running', 'paused', 'restarting')",
            False: "status NOT IN ('running', 'paused', 'restarting')",
        }[running]
        row = self._ledger.query_one(
            "SELECT id FROM containers WHERE (image_id = ?1 OR id IN"  # noqa: S608
            " (SELECT container_id FROM image_mounts WHERE image_id = ?1))"
            f" AND {condition} ORDER BY created_ns LIMIT 1",
            (image_id,),
        )
        return row["id"] if row else None


def ignore_event(action: str, actor_id: str, attributes: dict[str, str]) -> None:
    """An OnEvent for stores that nobody listens to."""


class Pins:
    """Layers and blobs that garbage collection leaves alone for now."""

    def __init__(self, layers: DirectoryLayers, blobs: dict[Digest, int]) -> None:
        self._store_layers = layers
        self._store_blobs = blobs
        self._layers: list[Digest] = []
        self._blobs: list[Digest] = []

    def layer(self, diff_id: Digest) -> None:
        """Hold a layer, here already or to come."""
        self._store_layers.pin(diff_id)
        self._layers.append(diff_id)

    def blob(self, digest: Digest) -> None:
        """Hold a blob, here already or to come."""
        self._store_blobs[digest] = self._store_blobs.get(digest, 0) + 1
        self._blobs.append(digest)

    def image(self, image: Image) -> None:
        """Hold an image's layers, and the blobs of them that are here."""
        for layer in image.layers:
            self.layer(layer.diff_id)
            if layer.blob is not None:
                self.blob(layer.blob)

    def release(self) -> None:
        """Give up all of them."""
        for diff_id in self._layers:
            self._store_layers.unpin(diff_id)
        for digest in self._blobs:
            left = self._store_blobs.pop(digest) - 1
            if left:
                self._store_blobs[digest] = left
        self._layers, self._blobs = [], []


class ImageCatalogue:
    """Images by id and name. `root` is the engine's data root; layer_form: see `DirectoryLayers`."""

    def __init__(
        self,
        root: str,
        ledger: Ledger,
        *,
        workers: WorkerPool | None = None,
        usage: ContainerUsage | None = None,
        on_event: OnEvent = ignore_event,
        layer_form: str = "extract",
    ) -> None:
        self.root = root
        self.tmp = os.path.join(root, "tmp")
        self.ledger = ledger
        self.workers = workers or WorkerPool()
        self.blobs = BlobStore(root)
        self.partial = PartialBlobs(root, self.blobs)
        self.layers = DirectoryLayers(root, ledger, self.workers, form=layer_form)
        self.usage = usage or LedgerUsage(ledger)
        self.on_event = on_event
        self.indexes = Indexes(ledger)
        self._blob_pins: dict[Digest, int] = {}

    # -- finding --------------------------------------------------------------------------------

    def resolve(self, text: str) -> Image:
        """The image a user means: a name (with tag or digest), an id, or an unambiguous prefix of one.

        Raises NoSuchImage, InvalidReference.
        """
        image = self.find(text)
        if image is None:
            raise NoSuchImage(_shown(text))
        return image

    def variant(self, text: str, platform: Platform | None) -> Image:
        """As `resolve`, the image for a platform. Raises NoSuchImage, NotFound."""
        image = self.resolve(text)
        if platform is None:
            return image
        offers = [(image.platform, image)]
        with suppress(InvalidReference):
            name = parse_normalized(text).with_default_tag()
            if self.id_of_name(name) == image.id:
                others = [image_id for _, image_id in self.indexes.variants(name) if image_id is not None]
                offers += [(other.platform, other) for other in map(self.get, others)]
        chosen = best_match(platform, offers)
        if chosen is None:
            raise NotFound(
                f"image with reference {text} was found but does not match the specified platform: "
                f"wanted {platform}, actual: {image.platform}"
            )
        return chosen

    def find(self, text: str) -> Image | None:
        """As `resolve`, or None. Names win over id prefixes, as in Docker."""
        if is_digest(text) or is_digest(f"sha256:{text}"):
            full = text if is_digest(text) else f"sha256:{text}"
            return self._load(full)
        with suppress(InvalidReference):
            row = self.ledger.query_one(
                "SELECT i.* FROM images i JOIN names n ON n.image_id = i.id WHERE n.name = ? AND NOT hidden",
                (_name_of(parse_normalized(text)),),
            )
            if row is not None:
                return self._image(row)
        image_id = self._id_of_prefix(text)
        return self._load(image_id) if image_id else None

    def get(self, image_id: Digest) -> Image:
        """The image with this id, hidden ones included. Raises NoSuchImage."""
        row = self.ledger.query_one("SELECT * FROM images WHERE id = ?", (image_id,))
        if row is None:
            raise NoSuchImage(image_id)
        return self._image(row)

    def has(self, image_id: Digest) -> bool:
        """Whether there is an image with this id."""
        found = self.ledger.query_one("SELECT 1 FROM images WHERE id = ? AND NOT hidden", (image_id,))
        return found is not None

    def id_of_name(self, reference: Reference) -> Digest | None:
        """The id that a name stands for."""
        row = self.ledger.query_one("SELECT image_id FROM names WHERE name = ?", (_name_of(reference),))
        return Digest(row["image_id"]) if row else None

    def _id_of_prefix(self, text: str) -> str | None:
        prefix = text.removeprefix("sha256:")
        if not prefix or not set(prefix) <= set("0123456789abcdef"):
            return None
        rows = self.ledger.query(
            "SELECT id FROM images WHERE id >= ? AND id < ? AND NOT hidden LIMIT 2",
            (f"sha256:{prefix}", f"sha256:{prefix}g"),
        )
        return rows[0]["id"] if len(rows) == 1 else None

    def _load(self, image_id: str) -> Image | None:
        row = self.ledger.query_one("SELECT * FROM images WHERE id = ? AND NOT hidden", (image_id,))
        return self._image(row) if row else None

    def _image(self, row: Row) -> Image:
        layers = self.ledger.query(
            "SELECT diff_id, blob, media_type FROM image_layers WHERE image_id = ? ORDER BY position",
            (row["id"],),
        )
        return Image(
            id=row["id"],
            document=decode_config(row["config"]),
            raw_config=row["config"],
            layers=tuple(
                ImageLayer(diff_id=r["diff_id"], blob=r["blob"], media_type=r["media_type"]) for r in layers
            ),
            size=row["size"],
            parent=row["parent"],
            manifest_digest=row["manifest_digest"],
            raw_manifest=row["manifest"],
            stored_ns=row["created_ns"],
            tagged_ns=row["tagged_ns"],
        )

    def all(self) -> list[Image]:
        """All images, those without a name included."""
        return [
            self._image(row) for row in self.ledger.query("SELECT * FROM images WHERE NOT hidden ORDER BY id")
        ]

    def names(self, image_id: Digest) -> list[Reference]:
        """All names of an image, sorted; those with a digest are its RepoDigests."""
        rows = self.ledger.query("SELECT name FROM names WHERE image_id = ? ORDER BY name", (image_id,))
        return [parse_normalized(row["name"]) for row in rows]

    def tags_of(self, repository: Reference) -> list[Reference]:
        """All tags of a repository, sorted."""
        rows = self.ledger.query(
            "SELECT name FROM names WHERE name >= ? AND name < ? ORDER BY name",
            (f"{repository.name}:", f"{repository.name};"),
        )
        return [parse_normalized(row["name"]) for row in rows]

    def children(self, image_id: Digest) -> list[Digest]:
        """Images that were built on this one."""
        rows = self.ledger.query(
            "SELECT id FROM images WHERE parent = ? AND NOT hidden ORDER BY id", (image_id,)
        )
        return [row["id"] for row in rows]

    # -- using ----------------------------------------------------------------------------------

    def lower_dirs(self, image: Image | str) -> list[str]:
        """The image's layers as lowerdirs for overlayfs, uppermost first; never empty."""
        wanted = self.resolve(image) if isinstance(image, str) else image
        directories = [self.layers.directory(diff_id) for diff_id in reversed(wanted.diff_ids)]
        # The same layer twice: the uppermost hides the others, and overlayfs would refuse them (ELOOP).
        return list(dict.fromkeys(directories)) or [self.layers.empty]

    # -- changing -------------------------------------------------------------------------------

    def create(
        self,
        raw_config: bytes,
        layers: Sequence[ImageLayer],
        *,
        names: Iterable[Reference] = (),
        parent: Digest | None = None,
        raw_manifest: bytes | None = None,
    ) -> Image:
        """Store an image whose layers (and blobs) are here; the same one twice is one.

        Raises InvalidDocument if document and layers disagree, NotFound if a layer is missing.
        """
        image_id = digest_of(raw_config)
        if [layer.diff_id for layer in layers] != decode_config(raw_config).diff_ids:
            raise InvalidDocument("invalid image config: its layers are not those given")
        sizes = [self._layer_size(layer.diff_id) for layer in layers]
        manifest_digest = digest_of(raw_manifest) if raw_manifest is not None else None
        with self.ledger.transaction():
            self.ledger.execute(
                "INSERT INTO images (id, config, manifest_digest, manifest, parent, size, created_ns)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET hidden = 0,"
                " manifest = coalesce(excluded.manifest, manifest),"
                " manifest_digest = coalesce(excluded.manifest_digest, manifest_digest),"
                " parent = coalesce(parent, excluded.parent)",
                (image_id, raw_config, manifest_digest, raw_manifest, parent, sum(sizes), time.time_ns()),
            )
            for position, layer in enumerate(map(self.with_blob, layers)):
                self.ledger.execute(
                    "INSERT INTO image_layers (image_id, position, diff_id, blob, media_type)"
                    " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " blob = coalesce(excluded.blob, blob),"
                    " media_type = iif(excluded.blob IS NULL, media_type, excluded.media_type)",
                    (image_id, position, layer.diff_id, layer.blob, layer.media_type),
                )
            for name in names:
                self.point_name(name, image_id)
        return self.get(image_id)

    def keep_manifest(self, image_id: Digest, raw_manifest: bytes, *, replace: bool = False) -> None:
        """Note the manifest that an image has got; one that it had stays unless it is to be replaced."""
        self.ledger.execute(
            "UPDATE images SET manifest = ?, manifest_digest = ? WHERE id = ? AND (manifest IS NULL OR ?)",
            (raw_manifest, digest_of(raw_manifest), image_id, replace),
        )

    def with_blob(self, layer: ImageLayer) -> ImageLayer:
        """The layer with a blob that another image has of it: only so can it be saved as it came."""
        if layer.blob is not None:
            return layer
        row = self.ledger.query_one(
            "SELECT blob, media_type FROM image_layers WHERE diff_id = ? AND blob IS NOT NULL LIMIT 1",
            (layer.diff_id,),
        )
        if row is None:
            return layer
        return ImageLayer(diff_id=layer.diff_id, blob=row["blob"], media_type=row["media_type"])

    def _layer_size(self, diff_id: Digest) -> int:
        row = self.ledger.query_one("SELECT size FROM layers WHERE diff_id = ?", (diff_id,))
        if row is None:
            raise NotFound(f"layer {diff_id} does not exist")
        size: int = row["size"]
        return size

    def record_blob(self, digest: Digest) -> None:
        """Give a committed blob, which need not be synced yet, its row."""
        self.ledger.execute(
            "INSERT OR IGNORE INTO blobs (digest, size, created_ns, boot_id) VALUES (?, ?, ?, ?)",
            (digest, self.blobs.size(digest), time.time_ns(), self.layers.boot_id),
        )

    def unsynced_blobs(self) -> list[Digest]:
        """Blobs that a power cut could still take."""
        return [r["digest"] for r in self.ledger.query("SELECT digest FROM blobs WHERE boot_id IS NOT NULL")]

    def mark_blobs_synced(self, digests: list[Digest]) -> None:
        """To be called after sync(2), with what `unsynced_blobs` said before it."""
        self.ledger.executemany("UPDATE blobs SET boot_id = NULL WHERE digest = ?", [(d,) for d in digests])

    def has_blob(self, digest: Digest) -> bool:
        """Whether the blob is here and in the ledger."""
        return self.ledger.query_one("SELECT 1 FROM blobs WHERE digest = ?", (digest,)) is not None

    @contextmanager
    def pins(self) -> Iterator[Pins]:
        """Holds on layers and blobs that no image names yet, given up when the block is left."""
        pins = Pins(self.layers, self._blob_pins)
        try:
            yield pins
        finally:
            pins.release()

    @property
    def pinned_blobs(self) -> frozenset[Digest]:
        """The blobs that somebody in this process counts on."""
        return frozenset(self._blob_pins)

    def tag(self, source: str, target: str) -> None:
        """Give an image a further name, taking it from the image that had it. Raises NoSuchImage."""
        reference = parse_normalized(target)
        if reference.digest is not None:
            raise InvalidReference("refusing to create a tag with a digest reference")
        target_name = reference.with_default_tag()
        image = self.resolve(source)
        self.set_name(target_name, image)
        with suppress(InvalidReference):
            name = parse_normalized(source).with_default_tag()
            if self.id_of_name(name) == image.id:
                self.indexes.copy(name, target_name)

    def set_name(self, name: Reference, image: Image) -> None:
        """Point a name at an image and tell it ("tag")."""
        if self._stands_for(name, image.id):
            self._note_tagged(image.id, time.time_ns())
        else:
            with self.ledger.transaction():
                self.point_name(name, image.id)
        self._tell("tag", image.id, name.familiar, image.config)

    def point_name(self, name: Reference, image_id: Digest) -> None:
        """Point a name at an image without telling anybody."""
        now = time.time_ns()
        self.ledger.execute(
            "INSERT INTO names (name, image_id, tagged_ns) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET image_id = excluded.image_id, tagged_ns = excluded.tagged_ns",
            (str(name), image_id, now),
        )
        self.ledger.execute("DELETE FROM indexes WHERE name = ?", (str(name),))
        if name.digest is None:
            self._note_tagged(image_id, now)

    def _stands_for(self, tag: Reference, image_id: Digest) -> bool:
        """Whether the tag is this very image's, and not that of an index."""
        return (
            self.ledger.query_one(
                "SELECT 1 FROM names WHERE name = ? AND image_id = ?"
                " AND NOT EXISTS (SELECT 1 FROM indexes WHERE indexes.name = names.name)",
                (str(tag), image_id),
            )
            is not None
        )

    def _note_tagged(self, image_id: Digest, time_ns: int) -> None:
        self.ledger.execute("UPDATE images SET tagged_ns = ? WHERE id = ?", (time_ns, image_id))

    def drop_name(self, name: Reference) -> bool:
        """Take a name away; False if nothing had it."""
        return self.ledger.execute("DELETE FROM names WHERE name = ?", (str(name),)).rowcount > 0

    def event(self, action: str, image_id: Digest, name: str, *, actor: str | None = None) -> None:
        """Tell of something that happened to an image; its labels become attributes."""
        row = self.ledger.query_one("SELECT config FROM images WHERE id = ?", (image_id,))
        config = decode_config(row["config"]).config if row is not None else None
        self._tell(action, actor or image_id, name, config)

    def _tell(self, action: str, actor: str, name: str, config: ImageConfig | None) -> None:
        labels = config.labels if config is not None else None
        self.on_event(action, actor, {**(labels or {}), "name": name})

    def close(self) -> None:
        """End the worker processes."""
        self.workers.close()
        self.layers.close()


def _shown(text: str) -> str:
    """The name as Docker's error shows it: with :latest where nothing was said. Raises InvalidReference."""
    if is_digest(text):
        return text
    if is_digest(f"sha256:{text}"):
        return f"sha256:{text}"
    return parse_normalized(text).with_default_tag().familiar


def _name_of(reference: Reference) -> str:
    """As the ledger has it. With a digest the tag says nothing."""
    if reference.digest is not None:
        reference = reference.with_digest(reference.digest)
    return str(reference.with_default_tag())
