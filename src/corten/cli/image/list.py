"""`corten images`."""

from __future__ import annotations

import time

from corten import spans
from corten.cli import clock, filters, listing, reference, sizes, table
from corten.cli.command import Command
from corten.cli.context import Context
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NONE = "<none>"

_LISTING = table.Listing(
    ("Repository", "Tag", "ID", "CreatedSince", "Size"),
    {
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "ID": "IMAGE ID",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Size": "SIZE",
        "Containers": "CONTAINERS",
        "VirtualSize": "SIZE",
        "SharedSize": "SHARED SIZE",
        "UniqueSize": "UNIQUE SIZE",
    },
)
_WITH_DIGESTS = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def show_images(context: Context, options: Options, arguments: list[str]) -> int:
    """Print the images, a row for each of their names."""
    if options.on("tree"):
        from corten.cli.image import tree

        return tree.show(context, options, arguments)
    images = context.engine.get(
        "/images/json",
        all=1 if options.on("all") else None,
        filters=filters.encode(options, {"reference": arguments}),
    )
    full = options.on("no-trunc")
    digests = options.on("digests") or ".Digest" in options["format"]
    rows = (row for image in images for row in _rows(image, full, digests, options.on("digests")))
    columns = _WITH_DIGESTS if digests else ()
    return listing.show(context, options, _LISTING, rows, quiet="ID", setting="imagesFormat", columns=columns)


def names(image: dict[str, Any], digests: bool) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of each row that an image gets; `<none>` where there is none."""
    tags = [reference.split(t)[:2] for t in image.get("RepoTags") or [] if t != "<none>:<none>"]
    known = [reference.split(d)[::2] for d in image.get("RepoDigests") or [] if d != "<none>@<none>"]
    if not tags and not known:
        yield NONE, NONE, NONE
    if digests:
        for name, digest in known:
            own = [tag for repository, tag in tags if repository == name] or [NONE]
            yield from ((name, tag, digest) for tag in own)
        with_digest = {name for name, _ in known}
        yield from ((name, tag, NONE) for name, tag in tags if name not in with_digest)
        return
    yield from ((name, tag, NONE) for name, tag in tags)
    if not tags:
        yield from ((name, NONE, NONE) for name in dict.fromkeys(name for name, _ in known))


def _rows(image: dict[str, Any], full: bool, digests: bool, with_digest_column: bool) -> Iterator[table.Row]:
    created = int(image.get("Created", 0))
    size = sizes.decimal(image.get("Size", 0), 3)
    shared, containers = image.get("SharedSize", -1), image.get("Containers", -1)
    known = shared != -1
    for repository, tag, digest in names(image, digests):
        if tag == NONE and repository != NONE and not with_digest_column:
            digest = ""
        yield table.Row(
            {
                "Repository": repository,
                "Tag": tag,
                "Digest": digest,
                "ID": image["Id"] if full else table.short_id(image["Id"]),
                "CreatedSince": spans.human(time.time() - created) + " ago" if created > 0 else "N/A",
                "CreatedAt": clock.go_string((created, 0)),
                "Size": size,
                "Containers": str(containers) if containers != -1 else "N/A",
                "VirtualSize": sizes.decimal(image.get("Size", 0)),
                "SharedSize": sizes.decimal(shared, 3) if known else "N/A",
                "UniqueSize": sizes.decimal(image.get("Size", 0) - shared, 3) if known else "N/A",
            }
        )


LIST = Command(
    "[OPTIONS] [REPOSITORY[:TAG]]",
    show_images,
    (
        Flag("all", "bool", "Show all images (default hides intermediate images)", "a"),
        Flag("digests", "bool", "Show digests"),
        Flag("filter", "filter", "Filter output based on conditions provided", "f"),
        FOR_LISTS,
        Flag("no-trunc", "bool", "Don't truncate output"),
        Flag("quiet", "bool", "Only show image IDs", "q"),
        Flag("tree", "bool", "List multi-platform images as a tree (EXPERIMENTAL)"),
    ),
    most=1,
)
