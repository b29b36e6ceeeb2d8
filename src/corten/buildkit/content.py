"""containerd.services.content.v1.Content, as far as clients need it: reading what build records refer to.

Nothing else of the engine's content can be had this way, and nothing can be written.
Source: containerd, api/services/content/v1/content.proto.
"""

from __future__ import annotations

from corten.buildkit.grpc.server import Method, ServerCall
from corten.buildkit.grpc.status import GRPCError, Status
from corten.buildkit.handlers import streaming, unary
from corten.buildkit.history import History
from corten.buildkit.proto.rpc_pb2 import (
    ContentInfo,
    ContentInfoRequest,
    ContentInfoResponse,
    ReadContentRequest,
    ReadContentResponse,
)
from corten.errors import NotFound

SERVICE = "containerd.services.content.v1.Content"
_CHUNK = 1 << 20


class Content:
    """The handlers."""

    def __init__(self, history: History) -> None:
        self._history = history

    def methods(self) -> dict[str, Method]:
        """The methods by path."""
        return {
            f"/{SERVICE}/Info": unary(self._info, ContentInfoRequest),
            f"/{SERVICE}/Read": streaming(self._read, ReadContentRequest),
        }

    async def _info(self, request: ContentInfoRequest, _: object) -> ContentInfoResponse:
        size = len(await self._blob(request.digest))
        return ContentInfoResponse(info=ContentInfo(digest=request.digest, size=size))

    async def _read(
        self, request: ReadContentRequest, call: ServerCall[ReadContentRequest, ReadContentResponse]
    ) -> None:
        """`size` 0: all that follows."""
        blob = await self._blob(request.digest)
        end = request.offset + request.size if request.size else len(blob)
        if request.offset < 0 or request.size < 0 or not request.offset <= end <= len(blob):
            raise GRPCError(Status.OUT_OF_RANGE, f"read past object length {len(blob)} bytes: out of range")
        for offset in range(request.offset, end, _CHUNK):
            data = blob[offset : min(offset + _CHUNK, end)]
            await call.send_message(ReadContentResponse(offset=offset, data=data))

    async def _blob(self, digest: str) -> bytes:
        try:
            return await self._history.blob(digest)
        except NotFound as error:
            raise GRPCError(Status.NOT_FOUND, str(error)) from None
