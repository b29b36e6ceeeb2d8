"""`corten image ls --tree`: images with what their indexes hold for each platform.

U in the last column: a container uses it. What was not pulled has no sizes.
"""

from __future__ import annotations

from corten.cli import filters, sizes, table
from corten.cli.context import Context, out
from corten.cli.errors import ExitError
from corten.cli.flags import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_HEADERS = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"]
_NOT_WITH = ("quiet", "no-trunc", "digests", "format")


def show(context: Context, options: Options, arguments: list[str]) -> int:
    """Print the tree. Raises ExitError for flags that say nothing about one."""
    for name in _NOT_WITH:
        if options.given(name):
            raise ExitError(f"--{name} is not yet supported with --tree")
    images = context.engine.get(
        "/images/json",
        all=1 if options.on("all") else None,
        manifests=1,
        filters=filters.encode(options, {"reference": arguments}),
    )
    lines = [_HEADERS]
    for image in images:
        lines += _rows(image)
    out(table.align(lines))
    return 0


def _rows(image: dict[str, Any]) -> Iterator[list[str]]:
    """The image's own line for each of its names, then its platforms."""
    members = [m for m in image.get("Manifests") or [] if m.get("Kind") == "image"]
    content = sum(member["Size"]["Content"] for member in members)
    used = any(member.get("ImageData", {}).get("Containers") for member in members)
    for name in image.get("RepoTags") or ["<untagged>"]:
        yield _row(name, image["Id"], image.get("Size", 0), content, used)
    for at, member in enumerate(members):
        data = member["ImageData"]
        branch = "└─" if at == len(members) - 1 else "├─"
        platform = data["Platform"]
        words = (platform.get("os", ""), platform.get("architecture", ""), platform.get("variant", ""))
        name = f"{branch} {'/'.join(word for word in words if word)}"
        if member["Available"]:
            size = member["Size"]
            yield _row(name, member["ID"], size["Total"], size["Content"], bool(data.get("Containers")))
        else:
            yield [name, table.short_id(member["ID"]), "", "", ""]


def _row(name: str, ident: str, usage: int, content: int, used: bool) -> list[str]:
    shown = [sizes.decimal(usage, 3), sizes.decimal(content, 3)]
    return [name, table.short_id(ident), *shown, "U" if used else ""]
