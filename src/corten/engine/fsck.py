"""`corten system fsck`: whether the ledger, the disk and the kernel tell the same story.

Start-up repairs the same disagreements; this asks a running engine. Findings about running containers are
only told, never repaired: who knows what runs in them.
"""

from __future__ import annotations

import os

from corten.engine.containers.context import Context
from corten.images.check import Finding, StoreCheck
from corten.images.store import ImageStore
from corten.types.system import FsckFinding, FsckReport

_NOBODYS = "directory belongs to nobody"


class Fsck:
    """Checks everything of one engine."""

    def __init__(self, context: Context, images: ImageStore, root: str) -> None:
        """root: the data root."""
        self._context = context
        self._images = images
        self._root = root

    async def run(self, *, repair: bool, contents: bool) -> FsckReport:
        """Look for disagreements, and with `repair` end those that can be ended without loss."""
        store = StoreCheck(self._images, self._images.collector)
        findings = await store.run(contents=contents)
        directory = os.path.join(self._root, "containers")
        stray = _without_row(directory, {container.id for container in self._context.store.all()})
        findings += [Finding(kind="container", subject=name, problem=_NOBODYS) for name in stray]
        repaired: set[str] = set()
        if repair:
            repaired = {f.subject for f in findings if f.kind != "ledger"} - store.repair()
            for name in stray:
                self._context.trash.discard(os.path.join(directory, name))
        findings += self._volumes() + self._missing_directories() + await self._tasks()
        return FsckReport(
            findings=[
                FsckFinding(kind=f.kind, subject=f.subject, problem=f.problem, repaired=f.subject in repaired)
                for f in findings
            ]
        )

    def _volumes(self) -> list[Finding]:
        """Volumes without a row are only told: they hold what cannot be made again."""
        known = {row["name"] for row in self._images.ledger.query("SELECT name FROM volumes")}
        stray = _without_row(os.path.join(self._root, "volumes"), known)
        return [Finding(kind="volume", subject=name, problem=_NOBODYS) for name in stray]

    def _missing_directories(self) -> list[Finding]:
        return [
            Finding(kind="container", subject=container.id, problem="directory is missing")
            for container in self._context.store.all()
            if not os.path.isdir(container.directory)
        ]

    async def _tasks(self) -> list[Finding]:
        """What the ledger says runs, against what the supervisor has; asked twice: starts take time."""
        first = await self._disagreeing()
        if not first:
            return []
        return [finding for finding in await self._disagreeing() if finding in first]

    async def _disagreeing(self) -> list[Finding]:
        known = {task.task_id for task in await self._context.runtime.tasks()}
        return [
            Finding(kind="container", subject=container.id, problem="runs by the ledger but has no task")
            for container in self._context.store.all()
            if container.status.is_running() and container.id not in known
        ]


def _without_row(parent: str, known: set[str]) -> list[str]:
    """Names of directories without a row: both are made after it and go before it, on this thread."""
    if not os.path.isdir(parent):
        return []
    with os.scandir(parent) as entries:
        return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and e.name not in known)
