"""The files of containers."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from corten.api import answers
from corten.api.request import Request
from corten.api.response import JSON, Answer
from corten.errors import InvalidParameter
from corten.types.container import PathStat
from corten.types.operations import Archive

_TAR = b"application/x-tar"
_BYTES = b"application/octet-stream"


class Files(Protocol):
    """What containers have on disk, running or not. `ref`: see Containers; `path`: inside, links stay inside.

    All raise NoSuchContainer; those with a path NotFound if that names nothing.
    """

    async def stat(self, ref: str, path: str) -> PathStat:
        """What the path names; a link is followed only with a slash behind it."""

    async def read(self, ref: str, path: str) -> Archive:
        """The path with all below it, as a tar whose names begin with the path's last part."""

    async def write(
        self, ref: str, path: str, body: AsyncIterator[bytes], *, keep_types: bool, own: bool
    ) -> None:
        """Unpack a tar (compressed or not) into the directory `path`.

        keep_types: a directory is never replaced by something else, nor the other way round. own: all belongs
        to the container's user. Raises Forbidden where it is read-only, InvalidParameter for what is no tar.
        """

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """The root file system without volumes, as a tar."""

    async def changes(self, ref: str) -> AsyncIterator[bytes]:
        """What differs from the image: the JSON text of a list of {Path, Kind}."""


class FileHandlers:
    """HTTP of containers' files."""

    def __init__(self, files: Files) -> None:
        self._files = files

    async def stat(self, request: Request) -> Answer:
        """HEAD /containers/{id}/archive."""
        found = await self._files.stat(request.params[0], _path(request))
        return Answer(200, headers=_stat_header(found))

    async def read(self, request: Request) -> None:
        """GET /containers/{id}/archive."""
        archive = await self._files.read(request.params[0], _path(request))
        async with answers.closing(archive.chunks) as chunks:
            stream = request.stream(_TAR, headers=_stat_header(archive.stat))
            async for chunk in chunks:
                await stream.write(chunk)

    async def write(self, request: Request) -> Answer:
        """PUT /containers/{id}/archive."""
        await self._files.write(
            request.params[0],
            _path(request),
            request.body,
            keep_types=request.flag("noOverwriteDirNonDir"),
            own=request.flag("copyUIDGID"),
        )
        return Answer(200)

    async def export(self, request: Request) -> None:
        """GET /containers/{id}/export."""
        async with answers.closing(await self._files.export(request.params[0])) as chunks:
            await request.send_all(chunks, _BYTES)

    async def changes(self, request: Request) -> None:
        """GET /containers/{id}/changes."""
        async with answers.closing(await self._files.changes(request.params[0])) as chunks:
            await request.send_all(chunks, JSON)


def _path(request: Request) -> str:
    path = request.text("path")
    if not path or "\0" in path:
        raise InvalidParameter("bad parameter: path cannot be empty" if not path else "bad parameter: path")
    return path


def _stat_header(stat: PathStat) -> bytes:
    return b"X-Docker-Container-Path-Stat: " + base64.b64encode(msgspec.json.encode(stat)) + b"\r\n"
