"""Fetching a client's files over its session: moby.filesync.v1.FileSync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from grpclib.exceptions import GRPCError, StreamTerminatedError

from corten.builder.blocking import run_blocking
from corten.buildkit.proto.files_pb2 import ERROR, FIN, Packet
from corten.buildkit.received import ReceivedTree
from corten.buildkit.sessions import ClientSession, client_error, metadata
from corten.errors import InvalidParameter

DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"
_QUEUE = 256  # packets of up to 32 KiB that the disk may lag behind


async def fetch_directory(
    session: ClientSession,
    directory: str,
    *,
    name: str,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    follow: Sequence[str] = (),
    on_progress: Callable[[int], None] = lambda _: None,
) -> ReceivedTree:
    """Fetch the client's directory `name` into an empty one; what was received (closed).

    `include`, `exclude`: patterns as in .dockerignore; `follow`: paths whose symlinks are wanted with what
    they point to. Raises InvalidParameter, BadTree, Unavailable, GRPCError.
    """
    if not session.serves(DIFF_COPY):
        raise InvalidParameter("no local sources enabled")
    wanted: Mapping[str, Sequence[str]] = {
        key: values
        for key, values in (
            ("dir-name", [name]),
            ("include-patterns", include),
            ("exclude-patterns", exclude),
            ("followpaths", follow),
        )
        if values
    }
    tree = ReceivedTree(directory)
    try:
        await _receive(session, tree, wanted, on_progress)
    except (StreamTerminatedError, OSError, GRPCError) as error:
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):
            raise
        raise client_error(error) from error
    finally:
        tree.close()
    return tree


async def _receive(
    session: ClientSession,
    tree: ReceivedTree,
    wanted: Mapping[str, Sequence[str]],
    on_progress: Callable[[int], None],
) -> None:
    method = session.stream(DIFF_COPY, Packet, Packet)
    async with method.open(metadata=metadata(wanted)) as stream:
        await stream.send_request()
        queue: asyncio.Queue[Packet | None] = asyncio.Queue(_QUEUE)

        async def read() -> None:
            try:
                while (packet := await stream.recv_message()) is not None:
                    await queue.put(packet)
            finally:
                await queue.put(None)

        reading = asyncio.ensure_future(read())
        try:
            while not tree.complete:
                packets = await _available(queue, reading)
                try:
                    answers = await run_blocking(lambda packets=packets: tree.take(packets))  # type: ignore[misc]
                except Exception as error:
                    await stream.send_message(Packet(type=ERROR, data=str(error).encode()))
                    raise
                on_progress(tree.received_bytes)
                for answer in answers:
                    # Go's server resets a stream that it ends before we have ended our side.
                    await stream.send_message(answer, end=answer.type == FIN)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reading


async def _available(queue: asyncio.Queue[Packet | None], reading: asyncio.Future[None]) -> list[Packet]:
    """All packets that have come, at least one. Raises what ended the stream too early."""
    packets: list[Packet] = []
    while not packets or not queue.empty():
        packet = await queue.get()
        if packet is not None:
            packets.append(packet)
        elif not packets:
            await reading
            raise StreamTerminatedError("the client ended the transfer")
        else:
            queue.put_nowait(None)
            break
    return packets
