"""Results for clients that speak HTTP alone: the build waits until a second request fetches each.

::

    POST /build          ─► ... {"id": "corten.build.output", "aux": {"number": 0, "token": T, ...}} ... waits
    GET /build/outputs/T ─► the bytes, as they are made            ─► the build goes on

A token is known to nobody else and good for once. Whoever goes away before the end ends the build.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing

from corten.builder.export.files import tar_of
from corten.builder.store_images import credentials_for
from corten.errors import NotFound, NotSupported, Unavailable
from corten.images.save import Archive
from corten.snapshots.workers import WorkerPool
from corten.types.system import AuthConfig

_AHEAD = 4  # pieces that are made before they are taken
_TAKE_S = 60.0

Offer = Callable[[Mapping[str, object]], Awaitable[None]]
"""Tells the client of something that it is to fetch."""


class _Output:
    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self.taken = asyncio.Event()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def put(self, piece: bytes | None) -> None:
        """Hand a piece on. Raises Unavailable if its taker has gone."""
        putting = asyncio.ensure_future(self.pieces.put(piece))
        waiting: set[asyncio.Future[None]] = {putting, self.over}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not putting.done():
            putting.cancel()
            raise Unavailable("the client has gone before it had all of the build's output")


class Outputs:
    """What builds hold ready. Event loop's thread only."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Output] = {}

    async def hand_over(self, chunks: AsyncIterator[bytes], tell: Callable[[str], Awaitable[None]]) -> None:
        """Have `chunks` fetched under a token that `tell` is told. Raises Unavailable."""
        token = secrets.token_hex(16)
        output = self._waiting[token] = _Output()
        try:
            await tell(token)
            try:
                async with asyncio.timeout(_TAKE_S):
                    await output.taken.wait()
            except TimeoutError:
                raise Unavailable("nobody has fetched the build's output") from None
            async for chunk in chunks:
                await output.put(chunk)
            await output.put(None)
            await output.over
        finally:
            self._waiting.pop(token, None)
            output.taken.set()
            if not output.over.done():
                output.over.set_result(None)  # whoever reads is told that this was not the end

    async def take(self, token: str) -> AsyncIterator[bytes]:
        """What is held ready under a token, once. Raises NotFound; in the iterator Unavailable."""
        output = self._waiting.pop(token, None)
        if output is None:
            raise NotFound("no such output of a build")
        output.taken.set()
        return self._pieces(output)

    async def _pieces(self, output: _Output) -> AsyncIterator[bytes]:
        try:
            while True:
                getting = asyncio.ensure_future(output.pieces.get())
                waiting: set[asyncio.Future[bytes | None] | asyncio.Future[None]] = {getting, output.over}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                    raise Unavailable("the build has failed")
                piece = getting.result()
                if piece is None:
                    return
                yield piece
        finally:
            if not output.over.done():
                output.over.set_result(None)


class HttpReceiver:
    """See `corten.builder.export.ports.Receiver`: files as they are, directories as tars."""

    def __init__(
        self, outputs: Outputs, workers: WorkerPool, auth: Mapping[str, AuthConfig], offer: Offer
    ) -> None:
        self._outputs = outputs
        self._workers = workers
        self._auth = auth
        self._offer = offer

    async def stream(self, number: int, described: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        """See Receiver."""

        async def tell(token: str) -> None:
            await self._offer({"number": number, "token": token})

        await self._outputs.hand_over(chunks, tell)

    async def directory(self, number: int, path: str) -> None:
        """See Receiver."""
        async with aclosing(tar_of(self._workers, path)) as chunks:
            await self.stream(number, {}, chunks)

    async def layout(self, number: int, archive: Archive) -> None:
        """See Receiver. Raises NotSupported: an archive can be unpacked by whoever wants that."""
        raise NotSupported("tar=false is the client's: ask for the archive")

    async def credentials(self, domain: str) -> AuthConfig | None:
        """See Receiver."""
        return credentials_for(self._auth, domain)
