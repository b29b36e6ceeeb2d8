"""The builds that run, by their `ref`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from corten.buildkit.build import Build, BuildRequest
from corten.buildkit.driver import Driver
from corten.buildkit.failures import grpc_error
from corten.buildkit.grpc.server import ServerCall
from corten.buildkit.grpc.status import GRPCError, Status
from corten.buildkit.history import History
from corten.buildkit.proto.control_pb2 import StatusResponse
from corten.errors import InvalidParameter, NotFound
from corten.http2.waiters import Waiters

_BUILD_ID = b"buildkit-controlapi-buildid"
_ENDED = 8  # builds that are remembered: their calls may come after a Solve that failed at once
_WAIT_S = 5.0  # for a build whose calls come before its Solve


class Builds:
    """The builds that run. Event loop's thread only."""

    def __init__(self, make: Callable[[BuildRequest], Build], history: History) -> None:
        self._make = make
        self._history = history
        self._running: dict[str, Driver] = {}  # what the clients of builds are
        self._ended: OrderedDict[str, Build | None] = OrderedDict()  # None: refused, has never begun
        self._changed = Waiters()

    async def run(self, request: BuildRequest) -> dict[str, str]:
        """Run a build to its end."""
        await self._history.written(request.ref)  # of an earlier one that was called the same
        if request.ref in self._running:
            raise InvalidParameter(f"job {request.ref} already exists")
        try:
            build = self._make(request)
        except Exception:
            self._remember(request.ref, None)
            raise
        driver = self._running[request.ref] = Driver(build, request.inputs)
        self._ended.pop(request.ref, None)
        if not request.internal:
            self._history.begin(request.ref, request.frontend, request.attributes, request.targets)
        self._changed.wake()
        answer: dict[str, str] = {}
        failure: GRPCError | None = GRPCError(Status.CANCELLED, "context canceled")
        try:
            answer = await build.run(driver)
            failure = None
        except Exception as error:
            failure = grpc_error(error)
            raise failure from error
        finally:
            self._history.end(request.ref, build.progress, answer, failure, build.notes)
            del self._running[request.ref]
            self._remember(request.ref, build)
        return answer

    def _remember(self, ref: str, build: Build | None) -> None:
        self._ended[ref] = build
        if len(self._ended) > _ENDED:
            self._ended.popitem(last=False)
        self._changed.wake()

    def driver(self, call: ServerCall[Any, Any]) -> Driver | None:
        """The client of the build that a call names, if that has begun. Raises InvalidParameter."""
        driver = self._running.get(_ref(call))
        return driver if driver is not None and driver.build.has_begun else None

    async def driver_of(self, call: ServerCall[Any, Any]) -> Driver:
        """The same, waited for. Raises NotFound, InvalidParameter, what the build has failed with."""
        ref = _ref(call)
        await (await self.get(ref)).begun()
        return self._running[ref]

    async def told(self, ref: str) -> AsyncIterator[StatusResponse]:
        """What a build tells, from its beginning on, or has told. Raises NotFound.

        One that was refused tells nothing: clients report what they hear first, and why comes from Solve.
        """
        await self._history.written(ref)
        before = None if ref in self._running else self._history.told(ref)
        if before is not None:
            return before
        build = await self._known(ref)
        return _nothing() if build is None else build.progress.watch()

    async def get(self, ref: str) -> Build:
        """The build, or one that has just ended; waited for: clients call Solve and Status at once.

        Raises NotFound.
        """
        build = await self._known(ref)
        if build is None:
            raise NotFound(f"no such job {ref}")
        return build

    async def _known(self, ref: str) -> Build | None:
        """The build; None if it was refused. Raises NotFound."""
        found = await self._changed.until(partial(self._find, ref), _WAIT_S)
        if found is None:
            raise NotFound(f"no such job {ref}")
        return found[0]

    def _find(self, ref: str) -> tuple[Build | None] | None:
        if ref in self._running:
            return (self._running[ref].build,)
        return (self._ended[ref],) if ref in self._ended else None


async def _nothing() -> AsyncIterator[StatusResponse]:
    responses: tuple[StatusResponse, ...] = ()
    for response in responses:
        yield response


def _ref(call: ServerCall[Any, Any]) -> str:
    if not (said := call.said(_BUILD_ID)) or not said[-1]:
        raise InvalidParameter("no buildid found in context")
    return said[-1]
