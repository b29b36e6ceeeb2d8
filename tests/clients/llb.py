"""A client of BuildKit's protocol that writes its own graphs (LLB), over HTTP/2 on the engine's socket."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import StreamTerminatedError

from corten.buildkit.grpc.server import serve
from corten.buildkit.proto import control_pb2 as control
from corten.buildkit.proto import gateway_pb2 as gateway
from corten.buildkit.proto import llb_pb2 as pb
from corten.buildkit.proto.rpc_pb2 import Status
from corten.buildkit.tunnel import Tunnel
from corten.digest import digest_of

CONTROL = "/moby.buildkit.v1.Control"
BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge"
NOTHING, NO_OUTPUT = -1, -1


class ErrorDetails(StatusDetailsCodecBase):
    """What is said of errors besides their texts."""

    def encode(self, status, message, details):
        raise NotImplementedError

    def decode(self, status, message, data):
        return list(Status.FromString(data).details)


class Graph:
    """Ops one after the other; each is named by (digest, output)."""

    def __init__(self):
        self.definition = pb.Definition()

    def add(self, *inputs, name="", **op):
        message = pb.Op(inputs=[pb.Input(digest=digest, index=index) for digest, index in inputs], **op)
        encoded = message.SerializeToString(deterministic=True)
        self.definition.ops.append(encoded)
        digest = digest_of(encoded)
        if name:
            self.definition.metadata[digest].description["llb.customname"] = name
        return digest, 0

    def source(self, identifier, **attributes):
        attrs = {key.replace("_", "."): value for key, value in attributes.items()}
        return self.add(source=pb.SourceOp(identifier=identifier, attrs=attrs))

    def file(self, base, *actions, inputs=()):
        """Actions upon `base` (None: scratch), each upon what the one before has made."""
        known = [*([base] if base else []), *inputs]
        for number, action in enumerate(actions):
            action.input = (0 if base else NOTHING) if number == 0 else len(known) + number - 1
            action.output = 0 if number == len(actions) - 1 else NO_OUTPUT
        return self.add(*known, file=pb.FileOp(actions=actions))

    def run(self, root, *args, mounts=(), inputs=(), name="", **more):
        meta = pb.Meta(args=args, cwd="/", **more.pop("meta", {}))
        root_mount = pb.Mount(input=0, dest="/", output=0)
        return self.add(
            root, *inputs, name=name, exec=pb.ExecOp(meta=meta, mounts=[root_mount, *mounts], **more)
        )

    def result(self, of):
        """The whole definition, whose result is `of`."""
        self.add(of)
        return self.definition


class Client:
    """One connection, with a session of which the engine wants nothing."""

    def __init__(self, channel, session):
        self.channel = channel
        self.session = session
        self.ref = ""

    async def call(self, path, request, reply):
        metadata = {"buildkit-controlapi-buildid": self.ref} if self.ref else {}
        return await UnaryUnaryMethod(self.channel, path, type(request), reply)(request, metadata=metadata)

    async def solve(self, definition=None, *, name="", **more):
        """Control.Solve, into the image store if there is a name."""
        exporters = [control.Exporter(type="moby", attrs={"name": name})] if name else []
        request = control.SolveRequest(
            ref=secrets.token_hex(8),
            session=self.session,
            definition=definition,
            exporters=exporters,
            **more,
        )
        return (await self.call(f"{CONTROL}/Solve", request, control.SolveResponse)).exporter_response

    @asynccontextmanager
    async def driven(self):
        """A build that the bridge drives; what is returned is exported nowhere."""
        self.ref = secrets.token_hex(8)
        request = control.SolveRequest(ref=self.ref, session=self.session)
        build = asyncio.ensure_future(self.call(f"{CONTROL}/Solve", request, control.SolveResponse))
        try:
            yield self
            returned = gateway.ReturnRequest(result=gateway.Result(ref=gateway.Ref()))
            await self.call(f"{BRIDGE}/Return", returned, gateway.ReturnResponse)
            await build
        finally:
            self.ref = ""
            build.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await build

    async def reference(self, definition, **more):
        """LLBBridge.Solve: the id of the result."""
        request = gateway.BridgeSolveRequest(definition=definition, **more)
        reply = await self.call(f"{BRIDGE}/Solve", request, gateway.BridgeSolveResponse)
        return reply.result.ref.id

    async def read(self, ref, path):
        request = gateway.ReadFileRequest(ref=ref, path=path)
        return (await self.call(f"{BRIDGE}/ReadFile", request, gateway.ReadFileResponse)).data


@asynccontextmanager
async def connected(engine, *, services: Mapping = {}, methods: Sequence[str] = ()):
    """A client of the engine, whose session serves `services`."""
    channel = Channel(path=engine.docker_host.removeprefix("unix://"), status_details_codec=ErrorDetails())
    session = secrets.token_hex(8)
    method = StreamStreamMethod(channel, f"{CONTROL}/Session", control.BytesMessage, control.BytesMessage)
    metadata = [("x-docker-expose-session-uuid", session)]
    metadata += [("x-docker-expose-session-grpc-method", path) for path in methods]
    try:
        async with method.open(metadata=metadata) as stream:
            await stream.send_request()
            tunnel = Tunnel(stream)
            running = asyncio.ensure_future(tunnel.run(serve(tunnel, services)))
            yield Client(channel, session)
            running.cancel()
            with suppress(asyncio.CancelledError, StreamTerminatedError):
                await running
            await stream.cancel()
    finally:
        channel.close()
