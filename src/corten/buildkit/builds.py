"""The builds that run, by their `ref`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from corten.buildkit.build import Build, BuildRequest
from corten.buildkit.failures import grpc_error
from corten.buildkit.history import History
from corten.errors import InvalidParameter, NotFound

_WAIT_S = 5.0  # for a build whose calls come before its Solve


class Builds:
    """The builds that run. Event loop's thread only."""

    def __init__(self, make: Callable[[BuildRequest], Build], history: History) -> None:
        self._make = make
        self._history = history
        self._running: dict[str, Build] = {}
        self._changed = asyncio.Condition()

    async def run(self, request: BuildRequest) -> dict[str, str]:
        """Run a build to its end."""
        if request.ref in self._running:
            raise InvalidParameter(f"job {request.ref} already exists")
        build = self._running[request.ref] = self._make(request)
        async with self._changed:
            self._changed.notify_all()
        if not request.internal:
            self._history.begin(request.ref, request.frontend, request.attributes, request.targets)
        answer: dict[str, str] = {}
        failure: GRPCError | None = GRPCError(Status.CANCELLED, "context canceled")
        try:
            answer = await build.run()
            failure = None
        except Exception as error:
            failure = grpc_error(error)
            raise failure from error
        finally:
            del self._running[request.ref]
            self._history.end(request.ref, build.progress, answer, failure)
        return answer

    async def get(self, ref: str) -> Build:
        """The build, waited for shortly: a client calls Solve and Status at once. Raises NotFound."""
        try:
            async with asyncio.timeout(_WAIT_S), self._changed:
                await self._changed.wait_for(lambda: ref in self._running)
            return self._running[ref]
        except (TimeoutError, KeyError):
            raise NotFound(f"no such job {ref}") from None
