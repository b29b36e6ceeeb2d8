"""Clients' sessions: connections over which we call the client for its files, secrets and credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from google.protobuf.message import Message

from corten.buildkit.grpc.client import AnyCall, Channel, ClientCall
from corten.buildkit.grpc.status import GRPCError
from corten.errors import NotFound, Unavailable
from corten.http2.ends import Client
from corten.http2.rawstream import RawStream
from corten.http2.waiters import Waiters

_WAIT_S = 10.0  # for a session whose build comes first: the client opens both at once
_CALL_S = 30.0
MAX_METHODS = 64  # of one session

Reply = TypeVar("Reply", bound=Message)


class ClientSession:
    """One session. `methods`: the paths that the client serves, lower-cased."""

    def __init__(self, identifier: str, shared_key: str, methods: Iterable[str], channel: Channel) -> None:
        self.id = identifier
        self.shared_key = shared_key
        self._methods = frozenset(method.lower() for method in methods)
        self._channel = channel

    def serves(self, path: str) -> bool:
        """Whether the client has this method."""
        return path.lower() in self._methods

    async def call(self, path: str, request: Message, reply: type[Reply]) -> Reply:
        """Call a unary method. Raises GRPCError as the client answers, Unavailable if it has gone."""
        try:
            return await self._channel.call(path, request, reply, timeout_s=_CALL_S)
        except OSError as error:  # TimeoutError is one
            raise _gone(error) from error

    def stream(
        self, path: str, reply: type[Reply], values: Mapping[str, Sequence[str]]
    ) -> AbstractAsyncContextManager[ClientCall[Reply, Any]]:
        """A call with messages both ways; values: its metadata. See `Channel.stream`."""
        return self._channel.stream(path, reply, _metadata(values))

    async def begin(
        self, path: str, make: Callable[[Client, int], AnyCall], values: Mapping[str, Sequence[str]]
    ) -> AnyCall:
        """A call that acts by itself on what comes; values: its metadata. See `Channel.begin`."""
        return await self._channel.begin(path, make, _metadata(values))

    def close(self) -> None:
        """Drop the client's connection."""
        self._channel.close()


class NoSession(ClientSession):
    """The session of a client that has opened none: there is nothing to be had of it."""

    def __init__(self) -> None:
        self.id = self.shared_key = ""

    def serves(self, path: str) -> bool:
        """See ClientSession."""
        return False

    async def call(self, path: str, request: Message, reply: type[Reply]) -> Reply:
        """See ClientSession. Raises NotFound."""
        raise NotFound("no active sessions")

    def stream(
        self, path: str, reply: type[Reply], values: Mapping[str, Sequence[str]]
    ) -> AbstractAsyncContextManager[ClientCall[Reply, Any]]:
        """See ClientSession. Raises NotFound."""
        raise NotFound("no active sessions")

    async def begin(
        self, path: str, make: Callable[[Client, int], AnyCall], values: Mapping[str, Sequence[str]]
    ) -> AnyCall:
        """See ClientSession. Raises NotFound."""
        raise NotFound("no active sessions")

    def close(self) -> None:
        """See ClientSession."""


class Sessions:
    """The sessions that are open, by id. Event loop's thread only."""

    def __init__(self) -> None:
        self._open: dict[str, ClientSession] = {}
        self._changed = Waiters()

    def serve(
        self, stream: RawStream, *, identifier: str, shared_key: str, methods: Sequence[str]
    ) -> Coroutine[object, object, None]:
        """Keep a session from now on, until its client has gone. It has been greeted (`http2.settings`)."""
        channel = Channel(stream)
        session = ClientSession(identifier, shared_key, methods, channel)
        ended = channel.open()
        self._open[identifier] = session
        self._changed.wake()
        return self._until_gone(session, ended)

    async def _until_gone(self, session: ClientSession, ended: asyncio.Future[None]) -> None:
        try:
            await ended
        finally:
            if self._open.get(session.id) is session:
                del self._open[session.id]
            session.close()

    async def get(self, identifier: str) -> ClientSession:
        """The session, waited for shortly; `NoSession` for "". Raises NotFound."""
        if not identifier:
            return NoSession()
        session = await self._changed.until(partial(self._open.get, identifier), _WAIT_S)
        if session is None:
            raise NotFound(f"no active session for {identifier}")
        return session


def _metadata(values: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Metadata of a call; what is not printable ASCII is escaped and marked, as newer clients read it."""
    for key, texts in values.items():
        together = "".join(texts)
        plain = together.isascii() and together.isprintable()
        if not plain:
            yield f"{key}-encoded", "1"
        for text in texts:
            yield key, text if plain else quote(text, safe="/*?[]!., ")


def client_error(error: Exception) -> Exception:
    """What a failed call to the client means for the build."""
    if isinstance(error, GRPCError):
        return error
    return _gone(error)


def _gone(error: Exception) -> Unavailable:
    return Unavailable(
        f"the client's session has ended: {error}" if str(error) else "the client's session has ended"
    )
