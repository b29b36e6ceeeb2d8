"""Listening: unix sockets, TCP with or without TLS, sockets handed over by systemd; orderly stop."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Coroutine
from functools import partial

from corten.api.connection import Application, Connection
from corten.api.hangup import HangupWatcher
from corten.api.hijack import HijackedStream
from corten.api.keptanswers import KeptAnswers
from corten.api.limits import HEAD_S, IDLE_S
from corten.api.sockets import BACKLOG, bind_tcp, bind_unix, unlink_own
from corten.api.tls import TLSProtocol
from corten.api.transport import Listener, MakeProtocol

_TICK_S = 5


class Server:
    """All listeners and connections of one engine. Must be made on the running loop it serves on."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.kept = KeptAnswers(application)
        self.loop = asyncio.get_running_loop()
        self.hangups = HangupWatcher()
        self.connections: set[Connection] = set()
        self.streams: set[HijackedStream] = set()
        self.tick = 0
        """A coarse clock, in steps of 5 s: enough for timeouts and free for connections to read."""
        self._listeners: list[Listener] = []
        self._paths: list[tuple[str, int]] = []
        self._clock = self.loop.call_later(_TICK_S, self._advance)
        self._head_started: dict[Connection, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen_unix(self, path: str, *, mode: int = 0o660, gid: int | None = None) -> None:
        """Serve on a new unix socket. Raises OSError: EADDRINUSE if somebody serves it."""
        await self.listen_socket(bind_unix(path, mode=mode, gid=gid))
        self._paths.append((path, os.stat(path).st_ino))

    async def listen_tcp(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> list[int]:
        """Serve on all addresses of a host ("" = every one); returns the ports. Raises OSError."""
        sockets = await bind_tcp(host, port)
        for sock in sockets:
            await self.listen_socket(sock, tls=tls)
        return [sock.getsockname()[1] for sock in sockets]

    async def listen_socket(self, sock: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a bound stream socket, which becomes ours."""
        sock.listen(BACKLOG)
        make: MakeProtocol = (
            partial(Connection, self, trusted_host=True, browsers=False)
            if sock.family == socket.AF_UNIX
            else _Factory(self, tls)
        )
        self._listeners.append(Listener(sock, make))

    async def close(self, grace_s: float = 5) -> None:
        """Accept no more, let running answers end for up to grace_s, then drop what is left.

        Streams are dropped at once: they end with their containers, or never.
        """
        self._clock.cancel()
        for listener in self._listeners:
            listener.close()
        for path, inode in self._paths:
            unlink_own(path, inode)
        for stream in [*self.streams]:
            stream.abort()
        for connection in [*self.connections]:
            connection.shut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for connection in [*self.connections]:
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # lets connection_lost run
        self.hangups.close()

    def run(self, handling: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run a handler; the server waits for it when it closes."""
        task = self.loop.create_task(handling)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _advance(self) -> None:
        self.tick += 1
        started = {}
        for connection in [*self.connections]:
            if connection.waits_for_head:
                since = self._head_started.get(connection, self.tick)
                if (self.tick - since) * _TICK_S >= HEAD_S:
                    connection.expire()
                else:
                    started[connection] = since
            elif (self.tick - connection.idle_since) * _TICK_S >= IDLE_S:
                connection.expire()
        self._head_started = started
        self._clock = self.loop.call_later(_TICK_S, self._advance)


class _Factory:
    """Makes the protocol of a new TCP connection."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None) -> None:
        self._server = server
        self._tls = tls

    def __call__(self) -> asyncio.Protocol:
        if self._tls is None:
            return self._connection(trusted_host=False)
        return TLSProtocol(self._tls, lambda: self._connection(trusted_host=True))

    def _connection(self, *, trusted_host: bool) -> Connection:
        return Connection(self._server, trusted_host=trusted_host, browsers=True)
