"""What the API says of images: inspect, list, history. Values of `corten.types.image`."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable

import msgspec

from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.images.catalogue import ImageCatalogue
from corten.images.image import Image
from corten.images.manifests import descriptor_of, manifest_summaries
from corten.images.times import ZERO, created_ns
from corten.oci.image import ImageConfig
from corten.platforms import Platform
from corten.reference import Reference
from corten.types.image import (
    HistoryItem,
    ImageGraphDriver,
    ImageInspect,
    ImageMetadata,
    ImageSummary,
    RootFS,
)
from corten.types.image import ImageConfig as ConfigDocument
from corten.units import format_time, parse_time

_SECOND_NS = 1_000_000_000
_FILTERS = ("before", "dangling", "label", "label!", "reference", "since", "until")


def inspect(
    store: ImageCatalogue, text: str, platform: Platform | None = None, *, manifests: bool = False
) -> ImageInspect:
    """GET /images/{name}/json. Raises NoSuchImage, NotFound (nothing for the platform)."""
    image = store.variant(text, platform)
    names = store.names(image.id)
    document = image.document
    tags, digests = _names(store, image)
    tagged_ns = image.tagged_ns
    return ImageInspect(
        id=image.id,
        repo_tags=tags,
        repo_digests=digests,
        parent=image.parent or "",
        comment=document.comment or (document.history[-1].comment if document.history else ""),
        created=document.created or "",
        docker_version=document.docker_version,
        author=document.author,
        config=config_document(image.config),
        architecture=document.architecture,
        variant=document.variant,
        os=document.os or "linux",
        os_version=document.os_version,
        size=image.size,
        graph_driver=_graph_driver(store, image),
        root_fs=RootFS(type="layers", layers=list(image.diff_ids) or None),
        metadata=ImageMetadata(last_tag_time=format_time(tagged_ns) if tagged_ns else ZERO),
        descriptor=descriptor_of(store, image, names),
        manifests=manifest_summaries(store, image, names) if manifests else None,
    )


def config_document(config: ImageConfig) -> ConfigDocument:
    """An image's defaults in the API's form."""
    return msgspec.convert(msgspec.to_builtins(config), ConfigDocument)


def _graph_driver(store: ImageCatalogue, image: Image) -> ImageGraphDriver:
    upper, *lower = store.lower_dirs(image)
    data = {"UpperDir": upper}
    if lower:
        data["LowerDir"] = ":".join(lower)
    return ImageGraphDriver(data=data, name="overlay2")


def _names(store: ImageCatalogue, image: Image) -> tuple[list[str], list[str]]:
    names = store.names(image.id)
    tags = [n.familiar for n in names if n.digest is None]
    return tags, [n.familiar for n in names if n.digest is not None]


def history(store: ImageCatalogue, text: str, platform: Platform | None = None) -> list[HistoryItem]:
    """GET /images/{name}/history, newest first. Ids are known for images that were built here."""
    image = store.variant(text, platform)
    sizes = [_layer_size(store, diff_id) for diff_id in image.diff_ids]
    items = []
    at = 0
    for entry in image.document.history or []:
        size = 0
        if not entry.empty_layer:
            if at >= len(sizes):
                raise InvalidParameter("too many non-empty layers in History section")
            size = sizes[at]
            at += 1
        items.append(
            HistoryItem(
                comment=entry.comment,
                created=created_ns(entry.created) // _SECOND_NS,
                created_by=entry.created_by,
                id="<missing>",
                size=size,
                tags=None,
            )
        )
    items.reverse()
    _fill_in_ids(store, image, items)
    return items


def _fill_in_ids(store: ImageCatalogue, image: Image, items: list[HistoryItem]) -> None:
    current: Image | None = image
    for item in items:
        if current is None:
            return
        item.id = current.id
        item.tags = _names(store, current)[0] or None
        current = store.find(current.parent) if current.parent else None


def _layer_size(store: ImageCatalogue, diff_id: str) -> int:
    row = store.ledger.query_one("SELECT size FROM layers WHERE diff_id = ?", (diff_id,))
    return row["size"] if row else 0


def summaries(
    store: ImageCatalogue,
    *,
    show_all: bool = False,
    filters: Filters | None = None,
    shared_size: bool = False,
    count_containers: bool = False,
    manifests: bool = False,
) -> list[ImageSummary]:
    """GET /images/json, newest first. show_all: parents without a name too.

    Raises InvalidFilter, InvalidParameter.
    """
    wanted = filters or Filters()
    wanted.validate(_FILTERS)
    accept = _predicates(store, wanted)
    held = store.indexes.held()
    users = _container_counts(store) if count_containers else {}
    shared = _shared_sizes(store) if shared_size else {}
    parents = {r["parent"] for r in store.ledger.query("SELECT DISTINCT parent FROM images WHERE NOT hidden")}
    dangling = wanted.boolean("dangling", default=False) if wanted.values_of("dangling") else None
    found = []
    for image in store.all():
        names = [n for n in store.names(image.id) if _name_matches(n, wanted.values_of("reference"))]
        if wanted.values_of("reference") and not names:
            continue
        # What the index of a name holds is shown with that name.
        variant = image.manifest_digest in held and not names
        tagged = any(n.digest is None for n in names) or variant
        if dangling is not None and (dangling == tagged or (dangling and image.id in parents)):
            continue
        if not names and (image.id in parents or variant) and not show_all:
            continue
        if not all(accepts(image) for accepts in accept):
            continue
        found.append(
            ImageSummary(
                containers=users.get(image.id, 0) if count_containers else -1,
                descriptor=descriptor_of(store, image, names),
                manifests=manifest_summaries(store, image, names) if manifests else None,
                created=created_ns(image.document.created) // _SECOND_NS,
                id=image.id,
                labels=image.config.labels,
                parent_id=image.parent or "",
                repo_digests=[n.familiar for n in names if n.digest is not None],
                repo_tags=[n.familiar for n in names if n.digest is None],
                shared_size=shared.get(image.id, 0) if shared_size else -1,
                size=image.size,
            )
        )
    found.sort(key=lambda s: (-s.created, s.id))
    return found


def _predicates(store: ImageCatalogue, filters: Filters) -> list[Callable[[Image], bool]]:
    tests: list[Callable[[Image], bool]] = []
    for name, later in (("before", False), ("since", True)):
        for text in filters.values_of(name):
            limit = created_ns(store.resolve(text).document.created)
            tests.append(_created_after(limit) if later else _created_before(limit))
    until = filters.one("until")
    if until:
        try:
            tests.append(_created_before(parse_time(until, time.time_ns())))
        except ValueError as e:
            raise InvalidParameter(str(e)) from e
    if filters.values_of("label"):
        tests.append(lambda image: filters.match_labels("label", image.config.labels or {}))
    if filters.values_of("label!"):
        tests.append(lambda image: not filters.match_labels("label!", image.config.labels or {}))
    return tests


def _created_before(limit_ns: int) -> Callable[[Image], bool]:
    return lambda image: created_ns(image.document.created) < limit_ns


def _created_after(limit_ns: int) -> Callable[[Image], bool]:
    return lambda image: created_ns(image.document.created) > limit_ns


def _name_matches(name: Reference, patterns: tuple[str, ...]) -> bool:
    """Docker's FamiliarMatch: a shell pattern for the whole name or the name without tag."""
    return not patterns or any(
        _path_match(name.familiar, p) or _path_match(name.familiar_name, p) for p in patterns
    )


def _path_match(text: str, pattern: str) -> bool:
    # Go's path.Match: * and ? stop at slashes, so the parts match one by one.
    parts, pattern_parts = text.split("/"), pattern.split("/")
    return len(parts) == len(pattern_parts) and all(
        fnmatch.fnmatchcase(part, p) for part, p in zip(parts, pattern_parts, strict=True)
    )


def _container_counts(store: ImageCatalogue) -> dict[str, int]:
    rows = store.ledger.query("SELECT image_id, count(*) AS n FROM containers GROUP BY image_id")
    return {row["image_id"]: row["n"] for row in rows}


def _shared_sizes(store: ImageCatalogue) -> dict[str, int]:
    """Bytes of each image's layers that another image has too."""
    rows = store.ledger.query(
        "SELECT image_id, sum(size) AS n FROM (SELECT DISTINCT image_id, diff_id FROM image_layers)"
        " JOIN layers USING (diff_id) WHERE diff_id IN"
        " (SELECT diff_id FROM image_layers GROUP BY diff_id HAVING count(DISTINCT image_id) > 1)"
        " GROUP BY image_id"
    )
    return {row["image_id"]: row["n"] for row in rows}
