"""Sockets through which a build's commands reach an ssh agent of the client's."""

from __future__ import annotations

import asyncio
import os

from corten.builder.executor import AgentSocket


class AgentSockets:
    """Listens below a directory of the engine's own, for the time of one command."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, socket: AgentSocket) -> str:
        """The path of a new socket, with the owner and mode that are asked for."""
        path = os.path.join(self._directory, f"agent{len(self._servers)}")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
            try:
                await socket.serve(reader, writer)
            except asyncio.CancelledError:
                pass  # by `close`; Python 3.11's streams would log the end of a cancelled handler as an error
            finally:
                writer.close()

        self._servers.append(await asyncio.start_unix_server(serve, path))
        os.chown(path, socket.uid, socket.gid)
        os.chmod(path, socket.mode)
        return path

    async def close(self) -> None:
        """End listening and all connections."""
        for server in self._servers:
            server.close()
        for task in [*self._connections]:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
