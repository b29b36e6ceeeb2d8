"""Commit: an image of a container."""

from __future__ import annotations

from typing import Protocol

from corten.api import answers, documents
from corten.api.request import Request
from corten.api.response import Answer
from corten.api.routes.images import joined_reference
from corten.digest import Digest
from corten.types.container import CommitResponse, ContainerConfig
from corten.types.operations import CommitOptions


class Committer(Protocol):
    """Makes images of containers."""

    async def commit(self, ref: str, options: CommitOptions) -> Digest:
        """The id of the new image. Raises NoSuchContainer, Conflict, InvalidParameter, InvalidReference."""


class CommitHandlers:
    """HTTP of commit."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    async def commit(self, request: Request) -> Answer:
        """POST /commit."""
        body = (await request.json_text()).strip()
        options = CommitOptions(
            reference=joined_reference(request.text("repo"), request.text("tag")),
            comment=request.text("comment"),
            author=request.text("author"),
            pause=request.flag("pause", True) if request.text("pause") else True,
            changes=[change for text in request.texts("changes") for change in text.split("\n") if change],
            config=documents.decode(body, ContainerConfig) if body not in (b"", b"null") else None,
        )
        image_id = await self._committer.commit(request.text("container"), options)
        return answers.document(request, CommitResponse(id=image_id), 201)
