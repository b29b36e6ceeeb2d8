"""Sending results to a client over its session: moby.filesync.v1.FileSend."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress

from corten.builder.blocking import run_blocking
from corten.builder.ops.tree import children, open_directory
from corten.buildkit.grpc.client import ClientCall
from corten.buildkit.grpc.status import GRPCError
from corten.buildkit.proto.control_pb2 import BytesMessage
from corten.buildkit.proto.files_pb2 import DATA, ERROR, FIN, REQUEST, STAT, Packet, Stat
from corten.buildkit.sessions import ClientSession, client_error
from corten.errors import InvalidParameter
from corten.wire.gomode import to_go

_DIFF_COPY = "/moby.filesync.v1.FileSend/DiffCopy"
_CHUNK = 1 << 20
_BATCH = 256


async def send_stream(
    client: ClientSession, number: int, described: Mapping[str, str], chunks: AsyncIterator[bytes]
) -> None:
    """Send bytes that the client writes to a file. `number`: of the exporter; `described`: what they are."""
    values: dict[str, Sequence[str]] = {"buildkit-attachable-exporter-id": [str(number)]}
    values.update({f"exporter-md-{key}": [value] for key, value in described.items()})
    calling = _checked(client).stream(_DIFF_COPY, BytesMessage, values)
    try:
        async with calling as call:
            async for chunk in chunks:
                for start in range(0, len(chunk), _CHUNK):
                    await call.send_message(BytesMessage(data=chunk[start : start + _CHUNK]))
            call.end()  # the client ends the call when it has written all
    except (GRPCError, ConnectionError) as error:
        raise client_error(error) from error


async def send_directory(client: ClientSession, number: int, directory: str) -> None:
    """Send a tree of ours that the client writes into a directory. It must not change meanwhile."""
    values = {"buildkit-attachable-exporter-id": [str(number)]}
    calling = _checked(client).stream(_DIFF_COPY, Packet, values)
    entries = await run_blocking(lambda: list(_entries(directory)))
    try:
        async with calling as call:
            sending = asyncio.ensure_future(_send_entries(call, entries))
            try:
                await _answer_requests(call, directory, entries)
                await sending
                call.end()
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await sending
    except (GRPCError, ConnectionError) as error:
        raise client_error(error) from error


def _checked(client: ClientSession) -> ClientSession:
    if not client.serves(_DIFF_COPY):
        raise InvalidParameter(f"method {_DIFF_COPY} not supported by the client")
    return client


async def _send_entries(call: ClientCall[Packet, Packet], entries: Sequence[Stat]) -> None:
    for entry in entries:
        await call.send_message(Packet(type=STAT, stat=entry))
    await call.send_message(Packet(type=STAT))


async def _answer_requests(call: ClientCall[Packet, Packet], directory: str, entries: Sequence[Stat]) -> None:
    """Send the files that are asked for, until the client says that it has all."""
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while (packet := await call.recv_message()) is not None:
            if packet.type == REQUEST:
                if packet.id >= len(entries):
                    raise InvalidParameter(f"invalid file id {packet.id}")
                await _send_file(call, root, packet.id, entries[packet.id].path)
            elif packet.type == ERROR:
                raise InvalidParameter(f"error from receiver: {packet.data.decode(errors='replace')}")
            elif packet.type == FIN:
                await call.send_message(Packet(type=FIN))
                return
    finally:
        os.close(root)


async def _send_file(call: ClientCall[Packet, Packet], root: int, identifier: int, path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
    try:
        while data := await run_blocking(lambda: os.read(fd, _CHUNK)):
            await call.send_message(Packet(type=DATA, id=identifier, data=data))
        await call.send_message(Packet(type=DATA, id=identifier))
    finally:
        os.close(fd)


def _entries(directory: str) -> Iterator[Stat]:
    """All files below, in the protocol's order; sockets and devices are left out."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from _below(fd, "", {})
    finally:
        os.close(fd)


def _below(dirfd: int, path: str, links: dict[tuple[int, int], bytes]) -> Iterator[Stat]:
    for entry in children(dirfd, path):
        status = entry.status
        mode = status.st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            continue
        found = Stat(
            path=os.fsencode(entry.path),
            mode=to_go(mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime_ns=status.st_mtime_ns,
        )
        if stat.S_ISREG(mode):
            found.size = status.st_size
            if status.st_nlink > 1:
                first = links.setdefault((status.st_dev, status.st_ino), found.path)
                found.link = b"" if first == found.path else first
        elif stat.S_ISLNK(mode):
            found.link = os.fsencode(os.readlink(entry.name, dir_fd=dirfd))
        yield found
        if entry.is_dir:
            child = open_directory(dirfd, entry.name)
            try:
                yield from _below(child, entry.path, links)
            finally:
                os.close(child)
