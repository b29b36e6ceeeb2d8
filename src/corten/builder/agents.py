"""ssh agents on this machine, for builds whose client is on it too."""

from __future__ import annotations

import asyncio

from corten.builder.executor import ServeAgent

_READ = 64 << 10


def agent_at(path: str) -> ServeAgent:
    """Serves each connection by one to the agent that listens at `path`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            agent_reader, agent_writer = await asyncio.open_unix_connection(path)
        except OSError:
            return  # to the command it looks like an agent that has gone
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass_on(reader, agent_writer))
                tasks.create_task(_pass_on(agent_reader, writer))
        except* OSError:
            pass  # either end has gone before it was told everything
        finally:
            agent_writer.close()

    return serve


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_READ):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
