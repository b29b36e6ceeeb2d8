"""A client of BuildKit's protocol that keeps to none of its rules: its session sends what it likes."""

import asyncio
import os
import socket
import stat
import time

import pytest
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.proto import ProtoCodec
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Handler as ServerHandler
from h2.config import H2Configuration

from corten.buildkit.proto.control_pb2 import InfoRequest, InfoResponse, SolveRequest, SolveResponse
from corten.buildkit.proto.files_pb2 import DATA, FIN, REQUEST, STAT, Packet, Stat
from corten.wire.gomode import to_go

DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"
DOCKERFILE = b"FROM scratch\nCOPY . /\n"


def entry(path, mode=0o100644, link="", **fields) -> Packet:
    names = {"path": os.fsencode(path), "link": os.fsencode(link)}
    return Packet(type=STAT, stat=Stat(mode=to_go(mode), mtime_ns=1, **names, **fields))


END = Packet(type=STAT)


def upgraded(engine, path, *headers) -> socket.socket:
    """A connection taken over from HTTP/1.1."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(engine.socket))
    lines = [f"POST {path} HTTP/1.1", "Host: engine", "Connection: Upgrade", "Upgrade: h2c", *headers]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    return connection


class Caller(Channel):
    """Calls over one connection that is there already."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__("engine", 0)
        self._authority = "localhost"
        self._connection = connection

    async def _create_connection(self):
        loop = asyncio.get_running_loop()
        return (await loop.create_unix_connection(self._protocol_factory, sock=self._connection))[1]


async def served(connection, files):
    """Serve FileSync with `files(stream, directory's name)`; the transport."""

    async def diff_copy(stream):
        await files(stream, stream.metadata["dir-name"], transport)

    handlers = {DIFF_COPY: Handler(diff_copy, Cardinality.STREAM_STREAM, Packet, Packet)}
    handler = ServerHandler(handlers, ProtoCodec(), None, _DispatchServerEvents())
    protocol = H2Protocol(
        handler,
        Configuration().__for_server__(),
        H2Configuration(client_side=False, header_encoding="ascii", validate_inbound_headers=False),
    )
    loop = asyncio.get_running_loop()
    transport = (await loop.create_unix_connection(lambda: protocol, sock=connection))[0]
    return transport


async def honest(stream, name) -> bool:
    """The Dockerfile, as a client should send it; False for another directory."""
    if name == "dockerfile":
        await send(stream, entry("Dockerfile", size=len(DOCKERFILE)))
    return name == "dockerfile"


async def send(stream, *entries) -> None:
    """A list of files, of which only the Dockerfile has anything in it."""
    for packet in (*entries, END):
        await stream.send_message(packet)
    while (packet := await stream.recv_message()) is not None:
        if packet.type == REQUEST:
            await stream.send_message(Packet(type=DATA, id=packet.id, data=DOCKERFILE))
            await stream.send_message(Packet(type=DATA, id=packet.id))
        elif packet.type == FIN:
            await stream.send_message(Packet(type=FIN))
            return


def solve(engine, files, **attributes) -> str:
    """The error of a build whose session serves `files`; "" if there is none."""

    async def run():
        identifier = os.urandom(8).hex()
        session = await served(
            upgraded(
                engine,
                "/session",
                f"X-Docker-Expose-Session-Uuid: {identifier}",
                f"X-Docker-Expose-Session-Grpc-Method: {DIFF_COPY}",
            ),
            files,
        )
        caller = Caller(upgraded(engine, "/grpc"))
        call = UnaryUnaryMethod(caller, "/moby.buildkit.v1.Control/Solve", SolveRequest, SolveResponse)
        request = SolveRequest(
            ref=identifier, session=identifier, frontend="dockerfile.v0", frontend_attrs=attributes
        )
        try:
            await call(request, timeout=30)
        except GRPCError as error:
            return error.message or str(error.status)
        finally:
            info = UnaryUnaryMethod(caller, "/moby.buildkit.v1.Control/Info", InfoRequest, InfoResponse)
            await info(InfoRequest(), timeout=30)  # it goes on serving
            caller.close()
            session.close()
        return ""

    return asyncio.run(run())


def eventually(condition) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def clean(engine):
    """What a build leaves: nothing."""
    yield engine
    tmp = engine.root / "tmp"
    assert eventually(lambda: not [name for name in os.listdir(tmp) if name.startswith("build-")])


@pytest.mark.parametrize(
    ("packets", "said"),
    [
        ([entry("../../escaped")], "invalid path"),
        ([entry("/tmp/escaped")], "invalid path"),
        ([entry("s", stat.S_IFLNK | 0o777, link="/tmp"), entry("s/escaped")], "before its directory"),
        ([entry("h", link="../../../../etc/passwd")], "invalid hardlink"),
        ([entry("s", stat.S_IFLNK | 0o777, link="a\0b")], "invalid target"),
        ([entry("x" * 300)], "too long"),
        ([entry("a", size=1), END, Packet(type=FIN)], "before all files had come"),
        ([entry("a", size=1), END, Packet(type=DATA, id=9, data=b"x")], "not asked for"),
        ([entry("a", size=1), END, Packet(type=DATA, data=bytes(17 << 20))], "larger than max"),
    ],
)
def test_files_that_no_honest_client_sends(clean, packets, said):
    async def files(stream, name, _):
        if await honest(stream, name):
            return
        for packet in packets if name == "context" else [END]:
            await stream.send_message(packet)
        while await stream.recv_message() is not None:
            pass

    assert said in solve(clean, files)
    assert not os.path.lexists("/tmp/escaped")


def test_a_session_that_goes_in_the_middle(clean):
    async def files(stream, name, transport):
        if not await honest(stream, name):
            await stream.send_message(entry("a", size=1 << 40))
            transport.abort()

    assert "session has ended" in solve(clean, files)


@pytest.mark.parametrize(
    ("listed", "said"),
    [([], "no such file or directory"), ([entry("Dockerfile", size=0)], "the Dockerfile cannot be empty")],
)
def test_without_a_dockerfile_nobody_waits_for_an_ignore_file_that_never_comes(clean, listed, said):
    async def files(stream, name, _):
        if name == "dockerfile":
            await send(stream, *listed)
        while await stream.recv_message() is not None:
            pass

    assert said in solve(clean, files)


def test_with_an_ignore_file_of_its_own_a_dockerfile_needs_no_other(clean):
    """Nor whatever the client says of it."""

    async def files(stream, name, _):
        if name == "dockerfile":
            own = entry("Dockerfile.dockerignore")
            await send(stream, entry("Dockerfile", size=len(DOCKERFILE)), own)
        elif stream.metadata.get("followpaths") != ".dockerignore":
            await send(stream)
        else:
            raise GRPCError(Status.PERMISSION_DENIED, "it is a secret")

    assert solve(clean, files) == ""


def test_directories_deeper_than_any_stack(clean):
    """The longest path there is, of the shortest names: made, copied and deleted again."""
    layers = set(os.listdir(clean.root / "layers"))

    async def files(stream, name, _):
        if not await honest(stream, name):
            paths = ["/".join("d" * depth) for depth in range(1, 2000)]
            await send(stream, *[entry(path, stat.S_IFDIR | 0o755) for path in paths])

    assert solve(clean, files) == ""
    clean.request("POST", "/build/prune?all=1")
    assert eventually(lambda: set(os.listdir(clean.root / "layers")) <= layers)


def test_promises_that_could_not_be_kept_are_not_made(clean):
    async def files(stream, name, _):
        if not await honest(stream, name):
            await send(stream)

    assert "sbom generator cannot be empty" in solve(clean, files, **{"attest:sbom": "generator="})
    assert "unknown attestation type" in solve(clean, files, **{"attest:vows": ""})
