"""moby.buildkit.v1.Control: builds, their progress, the worker, the cache."""

from __future__ import annotations

import time

from corten.builder.export.targets import Target
from corten.buildkit.build import BuildRequest
from corten.buildkit.builds import Builds
from corten.buildkit.caches import entries
from corten.buildkit.grpc.call import framed
from corten.buildkit.grpc.server import Method, ServerCall
from corten.buildkit.handlers import constant, dialogue, streaming, unary
from corten.buildkit.history import History
from corten.buildkit.proto import control_pb2 as pb
from corten.buildkit.proto import rpc_pb2
from corten.buildkit.sessions import MAX_METHODS, Sessions
from corten.buildkit.tunnel import Tunnel
from corten.buildkit.usage import Usage
from corten.buildkit.workers import buildkit_version
from corten.errors import InvalidParameter, NotSupported
from corten.http2.settings import CLIENT_GREETING
from corten.units import format_time

SERVICE = "moby.buildkit.v1.Control"
_NOW = b"buildkit-current-timestamp"  # by it clients tell how long builds have been running


class Control:
    """The handlers."""

    def __init__(
        self,
        builds: Builds,
        sessions: Sessions,
        worker: pb.WorkerRecord,
        usage: Usage,
        history: History,
    ) -> None:
        self._builds = builds
        self._sessions = sessions
        self._worker = worker
        self._usage = usage
        self._history = history

    def methods(self) -> dict[str, Method]:
        """The methods by path."""
        return {
            f"/{SERVICE}/Info": constant(pb.InfoResponse(version=buildkit_version()), pb.InfoRequest),
            f"/{SERVICE}/ListWorkers": constant(
                pb.ListWorkersResponse(records=[self._worker]), pb.ListWorkersRequest
            ),
            f"/{SERVICE}/Session": dialogue(self._session, pb.BytesMessage),
            f"/{SERVICE}/Solve": Method(pb.SolveRequest, answer=self._solve),
            f"/{SERVICE}/Status": streaming(self._status, pb.StatusRequest),
            f"/{SERVICE}/DiskUsage": unary(self._disk_usage, pb.DiskUsageRequest),
            f"/{SERVICE}/Prune": streaming(self._prune, pb.PruneRequest),
            f"/{SERVICE}/ListenBuildHistory": streaming(self._listen, pb.BuildHistoryRequest),
            f"/{SERVICE}/UpdateBuildHistory": unary(self._update_history, pb.UpdateBuildHistoryRequest),
            "/grpc.health.v1.Health/Check": constant(
                rpc_pb2.HealthCheckResponse(status=1), rpc_pb2.HealthCheckRequest
            ),
        }

    async def _solve(
        self, request: pb.SolveRequest, call: ServerCall[pb.SolveRequest, pb.SolveResponse]
    ) -> None:
        if request.source_policy:
            raise NotSupported("source policies are not supported")
        if request.definition.ops and request.frontend:
            raise InvalidParameter("a build has either a frontend or a definition")
        answer = await self._builds.run(
            BuildRequest(
                ref=request.ref,
                session=request.session,
                frontend=request.frontend,
                attributes=dict(request.frontend_attrs),
                targets=_targets(request),
                entitlements=list(request.entitlements),
                inputs=dict(request.frontend_inputs),
                definition=request.definition,
                internal=request.internal,
                cache_exports=entries(request.cache.exports),
                cache_imports=entries(request.cache.imports),
            )
        )
        # It is sent with the last that Status tells.
        call.end(framed(pb.SolveResponse(exporter_response=answer)))

    async def _session(self, call: ServerCall[pb.BytesMessage, pb.BytesMessage]) -> None:
        """What POST /session is to clients that come over HTTP."""

        def said(name: bytes) -> str:
            return "".join(call.said(name)[-1:])

        identifier = said(b"x-docker-expose-session-uuid")
        if not identifier:
            raise InvalidParameter("no session id in the request")
        methods = call.said(b"x-docker-expose-session-grpc-method")
        tunnel = Tunnel(call)
        tunnel.write(CLIENT_GREETING)
        serving = self._sessions.serve(
            tunnel,
            identifier=identifier,
            shared_key=said(b"x-docker-expose-session-sharedkey"),
            methods=methods[:MAX_METHODS],
        )
        await tunnel.run(serving)

    async def _disk_usage(self, request: pb.DiskUsageRequest, _: object) -> pb.DiskUsageResponse:
        return pb.DiskUsageResponse(records=await self._usage.records(request.filter))

    async def _prune(
        self, request: pb.PruneRequest, call: ServerCall[pb.PruneRequest, pb.UsageRecord]
    ) -> None:
        for record in await self._usage.prune(request):
            await call.send_message(record)

    async def _listen(
        self,
        request: pb.BuildHistoryRequest,
        call: ServerCall[pb.BuildHistoryRequest, pb.BuildHistoryEvent],
    ) -> None:
        call.announce([(_NOW, format_time(time.time_ns()).encode())])
        async for event in self._history.listen(request):
            await call.send_message(event)

    async def _update_history(
        self, request: pb.UpdateBuildHistoryRequest, _: object
    ) -> pb.UpdateBuildHistoryResponse:
        if request.delete:
            self._history.delete(request.ref)
        elif request.finalize:
            await self._history.finalize(request.ref)
        else:
            await self._history.pin(request.ref, request.pinned)
        return pb.UpdateBuildHistoryResponse()

    async def _status(
        self, request: pb.StatusRequest, call: ServerCall[pb.StatusRequest, pb.StatusResponse]
    ) -> None:
        async for response in await self._builds.told(request.ref):
            await call.send_message(response)


def _targets(request: pb.SolveRequest) -> list[Target]:
    """The exporters asked for; older clients name one in fields of its own."""
    if request.exporters:
        return [
            Target(type=each.type, attributes=dict(each.attrs), number=number)
            for number, each in enumerate(request.exporters)
        ]
    if request.exporter_deprecated:
        return [Target(type=request.exporter_deprecated, attributes=dict(request.exporter_attrs_deprecated))]
    return []
