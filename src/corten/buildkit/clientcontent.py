"""Blobs in a directory of the client's, over its session (containerd's content service).

That is where caches of type=local lie, and contexts of type oci-layout.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from corten.builder.blocking import run_blocking
from corten.buildkit.grpc.client import ClientCall
from corten.buildkit.grpc.status import GRPCError, Status
from corten.buildkit.proto.rpc_pb2 import (
    ContentInfoRequest,
    ContentInfoResponse,
    ReadContentRequest,
    ReadContentResponse,
    WriteContentRequest,
    WriteContentResponse,
)
from corten.buildkit.sessions import ClientSession, client_error
from corten.digest import Digest, digest_of
from corten.errors import InvalidParameter, NotFound, Unavailable
from corten.images import ImageStore
from corten.images.unpacking import unpack_blob
from corten.oci.image import Descriptor

_SERVICE = "/containerd.services.content.v1.Content"
_CHUNK = 1 << 20
_COMMIT = 2
_WRITE = 1

Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True, slots=True)
class ClientContent:
    """One of the client's content stores. `name`: as it calls it, `local:<directory>` say."""

    client: ClientSession
    name: str

    async def read(self, descriptor: Descriptor, limit: int) -> bytes:
        """A small blob, verified. Raises InvalidParameter, NotFound, Unavailable."""
        found = bytearray()
        async with self._chunks(descriptor.digest) as chunks:
            async for chunk in chunks:
                found += chunk
                if len(found) > limit:
                    raise InvalidParameter(f"blob {descriptor.digest} of the client is too large")
        if digest_of(bytes(found)) != descriptor.digest:
            raise InvalidParameter(f"blob {descriptor.digest} of the client is something else")
        return bytes(found)

    async def fetch(self, store: ImageStore, descriptor: Descriptor) -> None:
        """Bring a blob, which the caller has pinned, into the engine's store, verified."""
        digest = Digest(descriptor.digest)
        if store.has_blob(digest):
            return
        with store.blobs.writer(digest, descriptor.size) as writer:
            async with self._chunks(digest) as chunks:
                async for chunk in chunks:
                    await run_blocking(partial(writer.write, chunk))
            await run_blocking(lambda: writer.commit(durable=False))
            store.record_blob(digest)

    @asynccontextmanager
    async def _chunks(self, digest: str) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            async with self._call("Read", ReadContentResponse) as call:
                await call.send_message(ReadContentRequest(digest=digest), end=True)
                yield (message.data async for message in call)
        except (GRPCError, ConnectionError) as error:
            raise _translated(error) from error

    async def has(self, digest: str) -> bool:
        """Whether the client has the blob."""
        try:
            async with self._call("Info", ContentInfoResponse) as call:
                await call.send_message(ContentInfoRequest(digest=digest), end=True)
                return await call.recv_message() is not None
        except GRPCError as error:
            if error.status == Status.NOT_FOUND:
                return False
            raise _translated(error) from error
        except ConnectionError as error:
            raise _translated(error) from error

    async def write_file(self, path: str, descriptor: Descriptor) -> None:
        """Send a file of ours as a blob, unless the client has it."""
        if not await self.has(descriptor.digest):
            fd = await run_blocking(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            try:
                await self._write(descriptor, lambda: run_blocking(lambda: os.read(fd, _CHUNK)))
            finally:
                os.close(fd)

    async def write(self, data: bytes, descriptor: Descriptor) -> None:
        """Send a blob, unless the client has it."""
        pieces = iter([data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)])

        async def read() -> bytes:
            return next(pieces, b"")

        if not await self.has(descriptor.digest):
            await self._write(descriptor, read)

    async def _write(self, descriptor: Descriptor, read: Callable[[], Awaitable[bytes]]) -> None:
        about = WriteContentRequest(
            ref=f"corten-{secrets.token_hex(8)}", total=descriptor.size, expected=descriptor.digest
        )
        try:
            async with self._call("Write", WriteContentResponse) as call:
                offset = 0
                while data := await read():
                    about.MergeFrom(WriteContentRequest(action=_WRITE, offset=offset, data=data))
                    await call.send_message(about)
                    await _answered(call)
                    offset += len(data)
                about.ClearField("data")
                about.MergeFrom(WriteContentRequest(action=_COMMIT, offset=offset))
                await call.send_message(about, end=True)
                await _answered(call)
        except GRPCError as error:
            if error.status != Status.ALREADY_EXISTS:
                raise _translated(error) from error
        except ConnectionError as error:
            raise _translated(error) from error

    def _call(self, name: str, reply: type[Reply]) -> AbstractAsyncContextManager[ClientCall[Reply, Any]]:
        path = f"{_SERVICE}/{name}"
        if not self.client.serves(path):
            raise InvalidParameter("the client has no content store")
        return self.client.stream(path, reply, {"buildkit-attachable-store-id": [self.name]})


async def _answered(call: ClientCall[WriteContentResponse, WriteContentRequest]) -> None:
    if await call.recv_message() is None:
        raise ConnectionResetError("the client ended the transfer")


def _translated(error: Exception) -> Exception:
    if isinstance(error, GRPCError):
        kind = NotFound if error.status == Status.NOT_FOUND else Unavailable
        return kind(error.message or "the client's content store has failed")
    return client_error(error)


class ClientLayers:
    """Layers in a client's content store (`cachetransfer.imports.LayerSource`)."""

    def __init__(self, store: ImageStore, content: ClientContent) -> None:
        self._store = store
        self._content = content

    async def bring(self, diff_id: Digest, descriptor: Descriptor) -> None:
        """See LayerSource."""
        digest = Digest(descriptor.digest)
        with self._store.pins() as pins:
            pins.blob(digest)
            await self._content.fetch(self._store, descriptor)
            await unpack_blob(self._store, diff_id, digest)
