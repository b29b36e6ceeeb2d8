"""BuildKit's protocol from the first client that speaks it on: gRPC and protobuf take 75 ms to load."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING

from corten.builder.builder import Builder
from corten.images import ImageStore
from corten.types.operations import BuildKitOptions, BuildOptions
from corten.types.progress import JSONMessage

if TYPE_CHECKING:
    from corten.buildkit.service import BuildKit
    from corten.http2.rawstream import RawStream


class BuildKitOnDemand:
    """See `corten.buildkit.service.BuildKit`. `host_gateway()` is asked when it is made."""

    def __init__(
        self, builder: Builder, store: ImageStore, *, worker_id: str, host_gateway: Callable[[], str]
    ) -> None:
        self._builder = builder
        self._store = store
        self._worker_id = worker_id
        self._host_gateway = host_gateway
        self._made: BuildKit | None = None

    def _service(self) -> BuildKit:
        if self._made is None:
            from corten.buildkit.service import BuildKit

            self._made = BuildKit(
                self._builder, self._store, worker_id=self._worker_id, host_gateway=self._host_gateway()
            )
        return self._made

    def serve(self, stream: RawStream) -> Coroutine[object, object, None]:
        """Answer the calls that come over a connection, from now on until the client has gone."""
        return self._service().serve(stream)

    def build(
        self, options: BuildOptions, more: BuildKitOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[JSONMessage]:
        """What a build asked for over HTTP tells. Raises InvalidParameter, NotSupported."""
        return self._service().build(options, more, body)

    def cancel(self, build_id: str) -> None:
        """End a build asked for over HTTP, if there is one of this name."""
        self._service().cancel(build_id)

    async def settle(self) -> None:
        """Wait until what is known of builds that have ended is written down."""
        if self._made is not None:
            await self._made.settle()

    def serve_session(
        self, stream: RawStream, *, identifier: str, shared_key: str, methods: Sequence[str]
    ) -> Coroutine[object, object, None]:
        """Keep a client's session, over which we call it, from now on until the client has gone."""
        return self._service().serve_session(
            stream, identifier=identifier, shared_key=shared_key, methods=methods
        )
