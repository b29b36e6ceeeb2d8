"""Everything of this package put together: what POST /grpc and POST /session lead to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence

from corten.builder.builder import Builder
from corten.builder.export.exporters import Exporters
from corten.buildkit.bridge import Bridge
from corten.buildkit.build import Build, BuildRequest
from corten.buildkit.builds import Builds
from corten.buildkit.content import Content
from corten.buildkit.control import Control
from corten.buildkit.exchange import Exchange
from corten.buildkit.failures import grpc_error
from corten.buildkit.grpc.server import serve
from corten.buildkit.history import History
from corten.buildkit.historyfiles import HistoryFiles
from corten.buildkit.keptcontexts import KeptContexts
from corten.buildkit.overhttp import HttpBuilds
from corten.buildkit.sessions import Sessions
from corten.buildkit.usage import Usage
from corten.buildkit.workers import worker
from corten.http2.rawstream import RawStream
from corten.images import ImageStore
from corten.types.operations import BuildKitOptions, BuildOptions
from corten.types.progress import JSONMessage


class BuildKit:
    """BuildKit's protocol over one engine's builder. Must be made on the event loop that serves it.

    `host_gateway`: the address that "host-gateway" stands for, "" when there is none.
    """

    def __init__(
        self, builder: Builder, store: ImageStore, *, worker_id: str, host_gateway: str = ""
    ) -> None:
        self._builder = builder
        self._store = store
        self._sessions = Sessions()
        self._exporters = Exporters(store)
        self._exchange = Exchange()
        self._history = History(HistoryFiles(store.root))
        self._kept = KeptContexts(store.root, builder.discard)
        builds = Builds(self._make, self._history)
        self._over_http = HttpBuilds(builds)
        record = worker(worker_id, host_gateway, builder.config.keep_rules)
        self._methods = {
            **Control(
                builds, self._sessions, record, Usage(builder, store, self._kept), self._history
            ).methods(),
            **Bridge(builds, record).methods(),
            **Content(self._history).methods(),
        }

    def _make(self, request: BuildRequest) -> Build:
        return Build(
            request,
            self._builder,
            self._sessions,
            self._exporters,
            self._exchange,
            self._history,
            self._kept,
            self._store,
        )

    def serve(self, stream: RawStream) -> Coroutine[object, object, None]:
        """Answer the calls that come over a connection, from now on until the client has gone."""
        return serve(stream, self._methods, grpc_error)

    def build(
        self, options: BuildOptions, more: BuildKitOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[JSONMessage]:
        """What a build asked for over HTTP tells. Raises InvalidParameter, NotSupported."""
        return self._over_http.build(options, more, body)

    def cancel(self, build_id: str) -> None:
        """End a build asked for over HTTP, if there is one of this name."""
        self._over_http.cancel(build_id)

    async def settle(self) -> None:
        """Wait until what is known of builds that have ended is written down."""
        await self._history.written()

    def serve_session(
        self, stream: RawStream, *, identifier: str, shared_key: str, methods: Sequence[str]
    ) -> Coroutine[object, object, None]:
        """Keep a client's session, over which we call it, from now on until the client has gone."""
        return self._sessions.serve(stream, identifier=identifier, shared_key=shared_key, methods=methods)
