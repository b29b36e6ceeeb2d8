"""`corten image tree`: which images build on which, by the layers that they share."""

from __future__ import annotations

from corten.cli import sizes, table
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.errors import ExitError
from corten.cli.flags import Options
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_HEADERS = ["IMAGE", "ID", "LAYERS", "ADDED SIZE", "SIZE"]


class _Member:
    """An image, what its files take, and the images that have all of its layers and perhaps more."""

    __slots__ = ("children", "ident", "layers", "names", "size")

    def __init__(self, summary: dict[str, Any], layers: list[str]) -> None:
        self.ident = str(summary["Id"])
        self.names = [name for name in summary.get("RepoTags") or () if name != "<none>:<none>"]
        self.size = int(summary.get("Size", 0))
        self.layers = layers
        self.children: list[_Member] = []


def show(context: Context, _: Options, arguments: list[str]) -> int:
    """Print all families of images, or that of one image. Raises ExitError."""
    wanted = context.engine.get(f"/images/{quote(arguments[0], b'/:@')}/json")["Id"] if arguments else ""
    families = _families(context)
    if wanted:
        families = [each for each in families if wanted in _idents(each)]
        if not families:
            raise ExitError(f"{arguments[0]} is not among the images that are listed")
    lines = [_HEADERS]
    for each in families:
        lines += _lines(each, 0, "", "")
    out(table.align(lines))
    return 0


def _families(context: Context) -> list[_Member]:
    """The images that build on no other one, with all that build on them."""
    listed = sorted(context.engine.get("/images/json"), key=lambda each: int(each.get("Created", 0)))
    members = []
    for summary in listed:
        layers = context.engine.get(f"/images/{summary['Id']}/json")["RootFS"].get("Layers") or []
        members.append(_Member(summary, layers))
    members.sort(key=lambda each: len(each.layers))  # the older first of those with as many
    roots: list[_Member] = []
    for at, member in enumerate(members):
        bases = [each for each in members[:at] if each.layers and _begins(member.layers, each.layers)]
        base = max(bases, key=lambda each: len(each.layers), default=None)  # of several the oldest
        (roots if base is None else base.children).append(member)
    return roots


def _begins(layers: list[str], base: list[str]) -> bool:
    return layers[: len(base)] == base


def _idents(member: _Member) -> set[str]:
    return {member.ident}.union(*map(_idents, member.children))


def _lines(member: _Member, below: int, mark: str, indent: str) -> Iterator[list[str]]:
    """The image's line and those of its children. below: the size of what it builds on."""
    yield [
        mark + (", ".join(member.names) or "<untagged>"),
        table.short_id(member.ident),
        str(len(member.layers)),
        sizes.decimal(max(0, member.size - below), 3),
        sizes.decimal(member.size, 3),
    ]
    for child in member.children:
        last = child is member.children[-1]
        more = indent + ("   " if last else "│  ")
        yield from _lines(child, member.size, indent + ("└─ " if last else "├─ "), more)


TREE = Command("[IMAGE]", show, most=1)
