"""`corten image diff`: what differs between the files of two images."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.container.snapshot import print_changes
from corten.cli.context import Context
from corten.cli.flags import Options
from corten.client.query import quote


def diff(context: Context, _: Options, images: list[str]) -> int:
    """Print what the second image has changed (C), added (A) and deleted (D)."""
    old, new = images
    print_changes(context, f"/images/{quote(new, b'/:@')}/changes", since=old)
    return 0


DIFF = Command("IMAGE IMAGE", diff, least=2, most=2)
