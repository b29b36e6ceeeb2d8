"""What a build is made of, noted while it runs: images, repositories, URLs, the client's directories."""

from __future__ import annotations

import time
from collections.abc import Mapping

from corten.builder.credentials import redacted
from corten.builder.graph import Vertex
from corten.builder.sources import BaseImage, FindCredentials, Images, ImagesOver, OnProgress
from corten.digest import Digest
from corten.platforms import Platform, host_platform


class Materials:
    """Of one build. Event loop's thread only.

    `images`: (reference as it was written, platform) → the digest by which the image can be had again.
    `repositories`: URL#ref → commit; `urls`: URL → digest. `directories`: names of the client's.
    `context`: the URL that the context and the Dockerfile come from, "" = from the client. `scanned`: what
    SBOMs are to tell of besides a result, by the digest of its vertex; by name.
    """

    def __init__(self) -> None:
        self.started_ns = time.time_ns()
        self.images: dict[tuple[str, Platform], str] = {}
        self.repositories: dict[str, str] = {}
        self.urls: dict[str, str] = {}
        self.directories: set[str] = set()
        self.context = ""
        self.scanned: dict[Digest, Mapping[str, Vertex]] = {}

    def repository(self, remote: str, ref: str, commit: str) -> str:
        """A commit has been checked out; how it is named from now on."""
        name = redacted(f"{remote}#{ref}" if ref else remote)
        self.repositories[name] = commit
        return name

    def url(self, url: str, digest: str) -> str:
        """A file has been fetched; how it is named from now on."""
        self.urls[redacted(url)] = digest
        return redacted(url)


class NotedImages(ImagesOver):
    """`Images` that notes which were used."""

    def __init__(self, images: Images, materials: Materials) -> None:
        super().__init__(images)
        self._materials = materials

    async def resolve(
        self,
        reference: str,
        *,
        platform: Platform | None,
        pull: bool,
        credentials: FindCredentials,
        on_progress: OnProgress,
    ) -> BaseImage:
        """See Images."""
        found = await self._images.resolve(
            reference, platform=platform, pull=pull, credentials=credentials, on_progress=on_progress
        )
        self._materials.images[(reference, platform or host_platform())] = found.pin
        return found
