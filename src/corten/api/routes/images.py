"""Images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from corten.filters import Filters
from corten.types.image import DeleteItem, HistoryItem, ImageInspect, ImagesPruneReport, ImageSummary
from corten.types.operations import ImageListOptions, ImportOptions
from corten.types.progress import JSONMessage
from corten.types.system import AuthConfig


class Images(Protocol):
    """The engine's images. `ref`: name, id, unambiguous prefix of an id. All raise NoSuchImage.

    Those that return an iterator of messages are plain functions (async generators will do). What is
    raised before the first message becomes the HTTP status, what comes later ends the stream as its
    last line.
    """

    async def list(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        """Images, newest first."""

    async def inspect(self, ref: str) -> ImageInspect:
        """Everything about one."""

    async def history(self, ref: str) -> Sequence[HistoryItem]:
        """Its layers, newest first."""

    async def tag(self, ref: str, target: str) -> None:
        """Give it a further name, repo[:tag]."""

    async def remove(self, ref: str, *, force: bool, prune: bool) -> Sequence[DeleteItem]:
        """Take one name away and, with the last one, the image and (`prune`) its unnamed parents."""

    async def prune(self, filters: Filters) -> ImagesPruneReport:
        """Remove unused images (filters: dangling, until, label, label!)."""

    def pull(
        self, reference: str, *, platform: str, auth: AuthConfig | None, all_tags: bool
    ) -> AsyncIterator[JSONMessage]:
        """Fetch repo:tag or repo@digest from its registry."""

    def load(self, body: AsyncIterator[bytes], *, quiet: bool) -> AsyncIterator[JSONMessage]:
        """Take in an archive of `docker save` or an OCI layout, plain or compressed."""

    def import_(self, body: AsyncIterator[bytes], options: ImportOptions) -> AsyncIterator[JSONMessage]:
        """Make an image of one layer of a tar of a root file system."""

    def save(self, refs: Sequence[str]) -> AsyncIterator[bytes]:
        """An archive (tar) of the images. Raises as with messages: before the first bytes."""
