"""Forwarding of ssh agents."""

import asyncio
import socket

from corten.builder.agents import agent_at


def test_a_command_may_go_before_it_has_been_told_everything(tmp_path):
    path = str(tmp_path / "agent")

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * (4 << 20))
        writer.close()

    async def main() -> None:
        ours, its = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        async with await asyncio.start_unix_server(talk, path):
            serving = asyncio.ensure_future(agent_at(path)(reader, writer))
            its.close()
            await asyncio.wait_for(serving, 20)
        writer.close()

    asyncio.run(main())
