"""moby.buildkit.v1.frontend.LLBBridge: a client that drives its build step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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
from corten.buildkit.control import unary
from corten.buildkit.proto import gateway_pb2 as pb
from corten.buildkit.proto.control_pb2 import VertexWarning, WorkerRecord
from corten.errors import InvalidParameter
from corten.platforms import Platform, normalized

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
            f"/{SERVICE}/ResolveImageConfig": self._method(
                self._resolve_image, pb.ResolveImageConfigRequest, pb.ResolveImageConfigResponse
            ),
            f"/{SERVICE}/ResolveSourceMeta": self._method(
                self._resolve_source, pb.ResolveSourceMetaRequest, pb.ResolveSourceMetaResponse
            ),
            f"/{SERVICE}/ReadFile": self._method(self._read_file, pb.ReadFileRequest, pb.ReadFileResponse),
            f"/{SERVICE}/ReadDir": self._method(self._read_directory, pb.ReadDirRequest, pb.ReadDirResponse),
            f"/{SERVICE}/StatFile": self._method(self._stat_file, pb.StatFileRequest, pb.StatFileResponse),
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
        await build.import_caches(entries(request.cache_imports))
        references: Mapping[str, str]
        metadata: Mapping[str, bytes]
        if request.frontend:
            references, metadata = await build.run_frontend(
                request.frontend, dict(request.frontend_opt), dict(request.frontend_inputs)
            )
        else:
            root = await build.lower(request.definition)
            name = build.add_reference(root, request.definition) if root is not None else ""
            references, metadata = {"": name}, {}
        result = pb.Result(metadata=dict(metadata))
        for platform, identifier in references.items():
            ref = result.refs.refs[platform] if platform else result.ref
            ref.id = identifier
            if identifier:
                ref.definition.CopyFrom(build.definition(identifier))
                if request.evaluate:
                    await build.solve_snapshot(build.reference(identifier))
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
        return pb.InputsResponse(definitions=build.request.inputs)

    async def _resolve_image(
        self, build: Build, request: pb.ResolveImageConfigRequest
    ) -> pb.ResolveImageConfigResponse:
        found = await build.resolve_image(
            request.ref, _platform(request), pull=request.resolve_mode == "pull"
        )
        return pb.ResolveImageConfigResponse(config=found.config, ref=request.ref)

    async def _resolve_source(
        self, build: Build, request: pb.ResolveSourceMetaRequest
    ) -> pb.ResolveSourceMetaResponse:
        scheme, _, reference = request.source.identifier.partition("://")
        response = pb.ResolveSourceMetaResponse(source=request.source)
        if scheme == "docker-image":
            found = await build.resolve_image(
                reference, _platform(request), pull=request.resolve_mode == "pull"
            )
            response.image.config = found.config
        return response

    async def _read_file(self, build: Build, request: pb.ReadFileRequest) -> pb.ReadFileResponse:
        part = (request.range.offset, request.range.length) if request.HasField("range") else (0, -1)
        if part[0] < 0 or (part[1] < 0 and request.HasField("range")):
            raise InvalidParameter("invalid range of a file")
        result = await build.result(request.ref)
        return pb.ReadFileResponse(data=await build.look.file(result, request.path, *part))

    async def _read_directory(self, build: Build, request: pb.ReadDirRequest) -> pb.ReadDirResponse:
        result = await build.result(request.ref)
        return pb.ReadDirResponse(
            entries=await build.look.directory(result, request.path, request.include_pattern)
        )

    async def _stat_file(self, build: Build, request: pb.StatFileRequest) -> pb.StatFileResponse:
        result = await build.result(request.ref)
        return pb.StatFileResponse(stat=await build.look.status(result, request.path))

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


def _platform(request: pb.ResolveImageConfigRequest | pb.ResolveSourceMetaRequest) -> Platform | None:
    found = request.platform
    return normalized(found.os or "linux", found.architecture, found.variant) if found.architecture else None
