"""moby.buildkit.v1.frontend.LLBBridge: a client that drives its build step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from corten.buildkit.caches import entries
from corten.buildkit.capabilities import frontend_capabilities, llb_capabilities
from corten.buildkit.driver import Driver, Outcome
from corten.buildkit.failures import STATE, BuildFailed
from corten.buildkit.grpc.call import framed
from corten.buildkit.grpc.server import Method, Rest, ServerCall
from corten.buildkit.grpc.status import GRPCError
from corten.buildkit.grpc.status import Status as Code
from corten.buildkit.handlers import constant, dialogue, unary
from corten.buildkit.looking import Tree
from corten.buildkit.platformlist import in_order
from corten.buildkit.processes import Processes
from corten.buildkit.proto import gateway_pb2 as pb
from corten.buildkit.proto.control_pb2 import VertexWarning, WorkerRecord
from corten.errors import InvalidParameter
from corten.platforms import Platform, normalized

SERVICE = "moby.buildkit.v1.frontend.LLBBridge"

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


class Drivers(Protocol):
    """Whose a call is."""

    def driver(self, call: ServerCall[Any, Any]) -> Driver | None:
        """The driver, if its build has begun. Raises InvalidParameter."""

    async def driver_of(self, call: ServerCall[Any, Any]) -> Driver:
        """The driver, as soon as its build has begun. Raises NotFound, what the build has failed with."""


class Bridge:
    """The handlers. Clients' calls name their build; a frontend's all belong to one."""

    def __init__(self, drivers: Drivers, worker: WorkerRecord) -> None:
        self._drivers = drivers
        self._worker = worker

    @staticmethod
    def of(driver: Driver, worker: WorkerRecord) -> Bridge:
        """All calls are those of one driver, whose build has begun."""
        return Bridge(_OneDriver(driver), worker)

    def methods(self) -> dict[str, Method]:
        """The methods by path."""
        return {
            f"/{SERVICE}/Ping": constant(
                pb.PongResponse(
                    frontend_caps=frontend_capabilities(), llb_caps=llb_capabilities(), workers=[self._worker]
                ),
                pb.PingRequest,
            ),
            f"/{SERVICE}/Solve": self._method(self._solve, pb.BridgeSolveRequest),
            f"/{SERVICE}/Return": self._at_once(self._return, pb.ReturnRequest),
            f"/{SERVICE}/Inputs": self._at_once(self._inputs, pb.InputsRequest),
            f"/{SERVICE}/Evaluate": self._method(self._evaluate, pb.EvaluateRequest),
            f"/{SERVICE}/ResolveImageConfig": self._method(self._resolve_image, pb.ResolveImageConfigRequest),
            f"/{SERVICE}/ResolveSourceMeta": self._method(self._resolve_source, pb.ResolveSourceMetaRequest),
            f"/{SERVICE}/ReadFile": self._method(self._read_file, pb.ReadFileRequest),
            f"/{SERVICE}/ReadDir": self._method(self._read_directory, pb.ReadDirRequest),
            f"/{SERVICE}/StatFile": self._method(self._stat_file, pb.StatFileRequest),
            f"/{SERVICE}/Warn": self._at_once(self._warn, pb.WarnRequest),
            f"/{SERVICE}/NewContainer": self._method(self._new_container, pb.NewContainerRequest),
            f"/{SERVICE}/ReleaseContainer": self._method(self._release_container, pb.ReleaseContainerRequest),
            f"/{SERVICE}/ReadFileContainer": self._method(self._read_container_file, pb.ReadFileRequest),
            f"/{SERVICE}/ReadDirContainer": self._method(self._read_container_directory, pb.ReadDirRequest),
            f"/{SERVICE}/StatFileContainer": self._method(self._stat_container_file, pb.StatFileRequest),
            f"/{SERVICE}/ExecProcess": dialogue(self._exec_process, pb.ExecMessage),
        }

    async def _new_container(
        self, driver: Driver, request: pb.NewContainerRequest
    ) -> pb.NewContainerResponse:
        await driver.containers.open(request.container_id, driver.build.container(request))
        return pb.NewContainerResponse()

    async def _release_container(
        self, driver: Driver, request: pb.ReleaseContainerRequest
    ) -> pb.ReleaseContainerResponse:
        await driver.containers.release(request.container_id)
        return pb.ReleaseContainerResponse()

    async def _exec_process(self, call: ServerCall[pb.ExecMessage, pb.ExecMessage]) -> None:
        driver = await self._driver(call)
        await Processes(driver.containers, driver.build.process, call).run()

    def _method(
        self,
        function: Callable[[Driver, Request], Awaitable[Reply]],
        request_type: type[Request],
    ) -> Method:
        async def find(request: Request, call: ServerCall[Request, Reply]) -> Reply:
            driver = await self._driver(call)
            try:
                return await function(driver, request)
            except BuildFailed as error:
                raise driver.build.inspectable(error) from error

        return unary(find, request_type)

    def _at_once(self, function: Callable[[Driver, Request], Reply], request_type: type[Request]) -> Method:
        """A method that waits for nothing but the beginning of the build."""

        async def wait(request: Request, call: ServerCall[Request, Reply]) -> None:
            call.end(framed(function(await self._drivers.driver_of(call), request)))

        def answer(request: Request, call: ServerCall[Request, Reply]) -> Rest:
            driver = self._drivers.driver(call)
            if driver is None:
                return wait(request, call)
            call.end(framed(function(driver, request)))
            return None

        return Method(request_type, answer=answer)

    async def _driver(self, call: ServerCall[Any, Any]) -> Driver:
        return self._drivers.driver(call) or await self._drivers.driver_of(call)

    async def _solve(self, driver: Driver, request: pb.BridgeSolveRequest) -> pb.BridgeSolveResponse:
        await driver.build.import_caches(entries(request.cache_imports))
        references: Mapping[str, str]
        metadata: Mapping[str, bytes]
        if request.frontend:
            references, metadata = await driver.build.run_frontend(
                request.frontend, dict(request.frontend_opt), dict(request.frontend_inputs)
            )
        else:
            root = await driver.build.lower(request.definition)
            name = driver.build.add_reference(root, request.definition) if root is not None else ""
            references, metadata = {"": name}, {}
        result = pb.Result(metadata=dict(metadata))
        for platform, identifier in references.items():
            ref = result.refs.refs[platform] if platform else result.ref
            ref.id = identifier
            if identifier:
                ref.definition.CopyFrom(driver.build.definition(identifier))
                if request.evaluate:
                    await driver.build.solve_snapshot(driver.build.reference(identifier))
                elif request.frontend:  # its result is nearly always what the client returns
                    asyncio.get_running_loop().call_soon(driver.build.look_ahead, identifier)
        return pb.BridgeSolveResponse(result=result)

    def _return(self, driver: Driver, request: pb.ReturnRequest) -> pb.ReturnResponse:
        if request.HasField("error"):
            code = Code(request.error.code or Code.UNKNOWN.value)
            details = [each for each in request.error.details if each.type_url != STATE]
            driver.fail(GRPCError(code, request.error.message, details))
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
        metadata = dict(result.metadata)
        roots = {
            platform: driver.build.reference(identifiers[platform]) if identifiers[platform] else None
            for platform in in_order(identifiers, metadata)
        }
        driver.finish(Outcome(roots=roots, metadata=metadata))
        return pb.ReturnResponse()

    def _inputs(self, driver: Driver, request: pb.InputsRequest) -> pb.InputsResponse:
        return pb.InputsResponse(definitions=driver.inputs)

    async def _resolve_image(
        self, driver: Driver, request: pb.ResolveImageConfigRequest
    ) -> pb.ResolveImageConfigResponse:
        found = await driver.build.resolve_image(
            request.ref, _platform(request), pull=request.resolve_mode == "pull"
        )
        return pb.ResolveImageConfigResponse(config=found.config, ref=request.ref)

    async def _resolve_source(
        self, driver: Driver, request: pb.ResolveSourceMetaRequest
    ) -> pb.ResolveSourceMetaResponse:
        scheme, _, reference = request.source.identifier.partition("://")
        response = pb.ResolveSourceMetaResponse(source=request.source)
        if scheme == "docker-image":
            found = await driver.build.resolve_image(
                reference, _platform(request), pull=request.resolve_mode == "pull"
            )
            response.image.config = found.config
        return response

    async def _read_file(self, driver: Driver, request: pb.ReadFileRequest) -> pb.ReadFileResponse:
        return await _file(driver, await driver.build.tree(request.ref), request)

    async def _read_directory(self, driver: Driver, request: pb.ReadDirRequest) -> pb.ReadDirResponse:
        return await _directory(driver, await driver.build.tree(request.ref), request)

    async def _stat_file(self, driver: Driver, request: pb.StatFileRequest) -> pb.StatFileResponse:
        return await _status(driver, await driver.build.tree(request.ref), request)

    async def _read_container_file(self, driver: Driver, request: pb.ReadFileRequest) -> pb.ReadFileResponse:
        return await _file(driver, driver.containers.get(request.ref).tree(request.mount), request)

    async def _read_container_directory(
        self, driver: Driver, request: pb.ReadDirRequest
    ) -> pb.ReadDirResponse:
        return await _directory(driver, driver.containers.get(request.ref).tree(request.mount), request)

    async def _stat_container_file(self, driver: Driver, request: pb.StatFileRequest) -> pb.StatFileResponse:
        return await _status(driver, driver.containers.get(request.ref).tree(request.mount), request)

    async def _evaluate(self, driver: Driver, request: pb.EvaluateRequest) -> pb.EvaluateResponse:
        await driver.build.solve(driver.build.reference(request.ref))
        return pb.EvaluateResponse()

    def _warn(self, driver: Driver, request: pb.WarnRequest) -> pb.WarnResponse:
        warning = VertexWarning(
            vertex=request.digest,
            level=request.level,
            short=request.short,
            detail=request.detail,
            url=request.url,
            info=request.info,
            ranges=request.ranges,
        )
        driver.build.progress.warn(warning)
        return pb.WarnResponse()


class _OneDriver:
    """The only driver there is (`Drivers`)."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def driver(self, call: object) -> Driver:
        """See Drivers."""
        return self._driver

    async def driver_of(self, call: object) -> Driver:
        """See Drivers."""
        return self._driver


async def _file(driver: Driver, tree: Tree, request: pb.ReadFileRequest) -> pb.ReadFileResponse:
    part = (request.range.offset, request.range.length) if request.HasField("range") else (0, -1)
    if part[0] < 0 or (part[1] < 0 and request.HasField("range")):
        raise InvalidParameter("invalid range of a file")
    return pb.ReadFileResponse(data=await driver.build.look.file(tree, request.path, *part))


async def _directory(driver: Driver, tree: Tree, request: pb.ReadDirRequest) -> pb.ReadDirResponse:
    entries = await driver.build.look.directory(tree, request.path, request.include_pattern)
    return pb.ReadDirResponse(entries=entries)


async def _status(driver: Driver, tree: Tree, request: pb.StatFileRequest) -> pb.StatFileResponse:
    return pb.StatFileResponse(stat=await driver.build.look.status(tree, request.path))


def _platform(request: pb.ResolveImageConfigRequest | pb.ResolveSourceMetaRequest) -> Platform | None:
    found = request.platform
    return normalized(found.os or "linux", found.architecture, found.variant) if found.architecture else None
