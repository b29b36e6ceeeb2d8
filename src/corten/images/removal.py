"""`docker rmi` and `docker image prune`: names first, then the image, then what only it used.

The rules and sentences are Docker's (moby, daemon/images/image_delete.go): removing a name removes the
image with its last name; an image that containers use, that has children, or several names needs force
or cannot go at all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from corten.digest import Digest, short_id
from corten.errors import Conflict, InvalidParameter
from corten.filters import Filters
from corten.images.catalogue import ImageCatalogue
from corten.images.collect import Collector
from corten.images.image import Image, chain_ids
from corten.images.times import created_ns
from corten.platforms import Platform
from corten.reference import InvalidReference, Reference, parse_normalized
from corten.types.image import DeleteItem, ImagesPruneReport
from corten.units import parse_time


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why an image may not go. hard: not even by force; used: a container needs it."""

    reason: str
    hard: bool = False
    used: bool = False

    def error(self, image_id: Digest) -> Conflict:
        how = "cannot be forced" if self.hard else "must be forced"
        return Conflict(f"conflict: unable to delete {short_id(image_id)} ({how}) - {self.reason}")


class Remover:
    """Takes names and images out of a store."""

    def __init__(self, store: ImageCatalogue, collector: Collector) -> None:
        self._store = store
        self._collector = collector

    def remove(self, text: str, *, force: bool = False, prune: bool = True) -> list[DeleteItem]:
        """Remove the name or image `text`. prune: its nameless parents too.

        Raises NoSuchImage, Conflict.
        """
        image = self._store.resolve(text)
        records: list[DeleteItem] = []
        variants = self._variants_of(image)
        if _is_id_prefix(image.id, text):
            self._untag_single(image, force, records)
            self._remove_image(image, records, force=force, prune=prune, quiet=False)
        elif self._untag_name(image, text, force, records):
            self._remove_image(image, records, force=force, prune=prune, quiet=True)
        self._remove_variants(variants, records, prune=prune)
        self._collector.collect()
        return records

    def remove_platforms(
        self, text: str, platforms: Sequence[Platform], *, force: bool = False, prune: bool = True
    ) -> list[DeleteItem]:
        """Remove single platforms of a name's index. The name stays while one of its platforms is here.

        Raises NoSuchImage, NotFound (not here for this platform), Conflict.
        """
        records: list[DeleteItem] = []
        for platform in platforms:
            image = self._store.variant(text, platform)
            others = [each for each in self._variants_of_name(text) if each != image.id]
            if not others:
                records += self.remove(text, force=force, prune=prune)
                break
            obstacle = self._obstacle(image.id, soft=not force, names=False)
            if obstacle is not None:
                raise obstacle.error(image.id)
            self._repoint(image, others)
            self._remove_image(image, records, force=force, prune=prune, quiet=False)
            self._store.ledger.execute("DELETE FROM attestations WHERE subject = ?", (image.manifest_digest,))
            self._collector.collect()
        return records

    def _variants_of_name(self, text: str) -> list[Digest]:
        """The images of a name's index that are here."""
        try:
            found = self._store.indexes.variants(parse_normalized(text).with_default_tag())
        except InvalidReference:
            return []
        return [image_id for _, image_id in found if image_id is not None]

    def _repoint(self, image: Image, others: Sequence[Digest]) -> None:
        """Let names that stand for an index mean another image of it."""
        with self._store.ledger.transaction():
            for name in self._store.names(image.id):
                kept = self._store.indexes.of(name)
                here = [image_id for _, image_id in self._store.indexes.variants(name) if image_id in others]
                if kept is not None and here and here[0] is not None:
                    self._store.point_name(name, here[0])
                    self._store.indexes.keep(name, kept.raw)

    def _variants_of(self, image: Image) -> list[Digest]:
        """The images that the indexes of the image's names hold."""
        found = [self._store.indexes.variants(name) for name in self._store.names(image.id)]
        ids = (image_id for each in found for _, image_id in each if image_id not in (None, image.id))
        return [image_id for image_id in dict.fromkeys(ids) if image_id is not None]

    def _remove_variants(self, variants: list[Digest], records: list[DeleteItem], *, prune: bool) -> None:
        """Remove those that no name and no index holds any more."""
        for image_id in variants:
            image = self._store.find(image_id)
            if image is None or self._store.names(image_id) or self._store.indexes.is_variant(image):
                continue
            self._remove_image(image, records, force=False, prune=prune, quiet=True)

    def _untag_name(self, image: Image, text: str, force: bool, records: list[DeleteItem]) -> bool:
        """Remove the name; True if it was the last."""
        names = self._store.names(image.id)
        if not force and _is_single(names):
            container = self._store.usage.container_using(image.id)
            if container is not None:
                raise Conflict(
                    f'conflict: unable to remove repository reference "{text}" (must force) - container '
                    f"{short_id(container)} is using its referenced image {short_id(image.id)}"
                )
        name = parse_normalized(text).with_default_tag()
        if name.digest is not None:
            name = name.with_digest(name.digest)
        self._untag(image.id, name, records)
        left = self._store.names(image.id)
        same_repository = [n for n in left if n.name == name.name]
        if name.digest is None and all(n.digest is not None for n in same_repository):
            # Digests of a repository are only kept beside a tag of it.
            for digest_name in same_repository:
                self._untag(image.id, digest_name, records)
                left.remove(digest_name)
        return not left

    def _untag_single(self, image: Image, force: bool, records: list[DeleteItem]) -> None:
        names = self._store.names(image.id)
        if not _is_single(names):
            return
        obstacle = self._obstacle(image.id, soft=not force, names=False)
        if obstacle is not None:
            raise obstacle.error(image.id)
        for name in names:
            self._untag(image.id, name, records)

    def _untag(self, image_id: Digest, name: Reference, records: list[DeleteItem]) -> None:
        self._store.drop_name(name)
        self._store.event("untag", image_id, image_id)
        records.append(DeleteItem(untagged=name.familiar))

    def _obstacle(self, image_id: Digest, *, soft: bool, names: bool = True) -> _Obstacle | None:
        if self._store.children(image_id):
            return _Obstacle("image has dependent child images", hard=True)
        running = self._store.usage.container_using(image_id, running=True)
        if running is not None:
            return _Obstacle(
                f"image is being used by running container {short_id(running)}", hard=True, used=True
            )
        if soft and names and self._store.names(image_id):
            return _Obstacle("image is referenced in multiple repositories")
        stopped = self._store.usage.container_using(image_id, running=False) if soft else None
        if stopped is not None:
            return _Obstacle(f"image is being used by stopped container {short_id(stopped)}", used=True)
        return None

    def _remove_image(
        self, image: Image, records: list[DeleteItem], *, force: bool, prune: bool, quiet: bool
    ) -> None:
        obstacle = self._obstacle(image.id, soft=not force)
        if obstacle is not None:
            dangling = not self._store.names(image.id) and not self._store.children(image.id)
            if quiet and (not dangling or obstacle.used):
                return
            raise obstacle.error(image.id)
        for name in self._store.names(image.id):
            self._untag(image.id, name, records)
        gone = self._collector.layers_only_of(image)
        self._store.event("delete", image.id, image.id)
        self._collector.forget(image.id)
        records.append(DeleteItem(deleted=image.id))
        chain = chain_ids(image.diff_ids)
        records.extend(DeleteItem(deleted=chain_id) for chain_id in reversed(chain[len(chain) - gone :]))
        if prune and image.parent is not None:
            parent = self._store.find(image.parent)
            if parent is not None:
                self._remove_image(parent, records, force=False, prune=True, quiet=True)

    def prune(self, filters: Filters | None = None) -> ImagesPruneReport:
        """Remove images that nobody uses: nameless ones, or with dangling=false all without containers.

        filters: dangling, until, label, label!. Raises InvalidParameter.
        """
        wanted = filters or Filters()
        selected = _PruneFilter(wanted)
        before = self._collector.disk.total()
        records: list[DeleteItem] = []
        for image in self._store.all():
            if not selected.matches(image) or self._store.find(image.id) is None:
                continue
            names = self._store.names(image.id)
            tagged = any(n.digest is None for n in names)
            used = self._store.usage.container_using(image.id) is not None
            if not names and self._store.indexes.is_variant(image):
                continue
            variants = self._variants_of(image)
            if used or self._store.children(image.id) or (tagged and selected.dangling_only):
                continue
            for name in names:
                self._untag(image.id, name, records)
            self._remove_image(image, records, force=False, prune=True, quiet=True)
            self._remove_variants(variants, records, prune=True)
        self._collector.collect()
        freed = max(0, before - self._collector.disk.total())
        return ImagesPruneReport(images_deleted=records or None, space_reclaimed=freed)


class _PruneFilter:
    def __init__(self, filters: Filters) -> None:
        filters.validate(("dangling", "until", "label", "label!"))
        self._filters = filters
        self.dangling_only = filters.boolean("dangling", default=True)
        until = filters.one("until")
        try:
            self._until_ns = parse_time(until, time.time_ns()) if until else None
        except ValueError as e:
            raise InvalidParameter(str(e)) from e

    def matches(self, image: Image) -> bool:
        """Whether the image may go as far as age and labels are concerned."""
        if self._until_ns is not None and created_ns(image.document.created) >= self._until_ns:
            return False
        labels = image.config.labels or {}
        excluded = self._filters.values_of("label!")
        return self._filters.match_labels("label", labels) and not (
            excluded and self._filters.match_labels("label!", labels)
        )


def _is_id_prefix(image_id: Digest, text: str) -> bool:
    return image_id.startswith(text) or image_id.removeprefix("sha256:").startswith(text)


def _is_single(names: Sequence[Reference]) -> bool:
    """All in one repository, at most one of them a tag (Docker's isSingleReference)."""
    tags = [n for n in names if n.digest is None]
    return bool(names) and len(tags) <= 1 and len({n.name for n in names}) == 1
