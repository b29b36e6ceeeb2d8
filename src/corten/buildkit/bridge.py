"""moby.buildkit.v1.frontend.LLBBridge: a client that drives its build step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message
from grpclib.const import Handler
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from corten.buildkit.build import Build, Outcome
from corten.buildkit.builds import Builds
from corten.buildkit.caches import entries
from corten.buildkit.capabilities import frontend_capabilities, llb_capabilities
from corten.buildkit.control import input_names, unary
from corten.buildkit.proto import gateway_pb2 as pb
from corten.buildkit.proto.control_pb2 import VertexWarning, WorkerRecord
from corten.errors import InvalidParameter, NotSupported

SERVICE = "moby.buildkit.v1.frontend.LLBBridge"
_BUILD_ID = "buildkit-controlapi-buildid"

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


class Bridge:
    """The handlers; each call names its build in its metadata."""

    def __init__(self, builds: Builds, worker: WorkerRecord) -> None:
        self._builds = builds
        self._worker = worker

    def methods(self) -> dict[str, Handler]:
        """The handlers by path."""
        return {
            f"/{SERVICE}/Ping": self._method(self._ping, pb.PingRequest, pb.PongResponse),
            f"/{SERVICE}/Solve": self._method(self._solve, pb.BridgeSolveRequest, pb.BridgeSolveResponse),
            f"/{SERVICE}/Return": self._method(self._return, pb.ReturnRequest, pb.ReturnResponse),
            f"/{SERVICE}/Inputs": self._method(self._inputs, pb.InputsRequest, pb.InputsResponse),
            f"/{SERVICE}/Evaluate": self._method(self._evaluate, pb.EvaluateRequest, pb.EvaluateResponse),
            f"/{SERVICE}/Warn": self._method(self._warn, pb.WarnRequest, pb.WarnResponse),
        }

    def _method(
        self,
        function: Callable[[Build, Request], Awaitable[Reply]],
        request_type: type[Request],
        reply_type: type[Reply],
    ) -> Handler:
        async def find(request: Request, stream: Stream[Request, Reply]) -> Reply:
            ref = stream.metadata.get(_BUILD_ID) if stream.metadata is not None else None
            if not isinstance(ref, str) or not ref:
                raise InvalidParameter("no buildid found in context")
            build = await self._builds.get(ref)
            await build.begun()
            return await function(build, request)

        return unary(find, request_type, reply_type)

    async def _ping(self, build: Build, request: pb.PingRequest) -> pb.PongResponse:
        return pb.PongResponse(
            frontend_caps=frontend_capabilities(), llb_caps=llb_capabilities(), workers=[self._worker]
        )

    async def _solve(self, build: Build, request: pb.BridgeSolveRequest) -> pb.BridgeSolveResponse:
        if request.HasField("definition") and request.definition.ops:
            raise NotSupported("client LLB is not supported yet")
        if not request.frontend:
            return pb.BridgeSolveResponse(result=pb.Result(ref=pb.Ref()))
        await build.import_caches(entries(request.cache_imports))
        references, metadata = await build.run_frontend(
            request.frontend, dict(request.frontend_opt), input_names(request.frontend_inputs)
        )
        if request.evaluate:
            for identifier in references.values():
                await build.solve(build.reference(identifier))
        result = pb.Result(metadata=dict(metadata))
        for platform, identifier in references.items():
            ref = result.refs.refs[platform] if platform else result.ref
            ref.id = identifier
            if identifier:
                ref.definition.CopyFrom(build.definition(identifier))
        return pb.BridgeSolveResponse(result=result)

    async def _return(self, build: Build, request: pb.ReturnRequest) -> pb.ReturnResponse:
        if request.HasField("error"):
            code = Code(request.error.code or Code.UNKNOWN.value)
            build.return_error(GRPCError(code, request.error.message, list(request.error.details)))
            return pb.ReturnResponse()
        result = request.result
        kind = result.WhichOneof("result")
        if kind == "refs":
            identifiers = {platform: ref.id for platform, ref in result.refs.refs.items()}
        elif kind == "refs_deprecated":
            identifiers = dict(result.refs_deprecated.refs)
        elif kind == "ref_deprecated":
            identifiers = {"": result.ref_deprecated}
        else:
            identifiers = {"": result.ref.id}
        roots = {platform: build.reference(each) if each else None for platform, each in identifiers.items()}
        build.return_outcome(Outcome(roots=roots, metadata=dict(result.metadata)))
        return pb.ReturnResponse()

    async def _inputs(self, build: Build, request: pb.InputsRequest) -> pb.InputsResponse:
        return pb.InputsResponse()

    async def _evaluate(self, build: Build, request: pb.EvaluateRequest) -> pb.EvaluateResponse:
        await build.solve(build.reference(request.ref))
        return pb.EvaluateResponse()

    async def _warn(self, build: Build, request: pb.WarnRequest) -> pb.WarnResponse:
        warning = VertexWarning(
            vertex=request.digest,
            level=request.level,
            short=request.short,
            detail=request.detail,
            url=request.url,
            info=request.info,
            ranges=request.ranges,
        )
        build.progress.warn(warning)
        return pb.WarnResponse()
