# ruff: noqa: E501
"""An engine of dictionaries behind the real API: it behaves, it does not record calls."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from corten.api.application import EngineApi
from corten.api.authorization import Authorization
from corten.api.endpoints import Services
from corten.api.guard import Guard
from corten.api.hijack import HijackedStream
from corten.api.server import Server
from corten.digest import Digest
from corten.errors import (
    Conflict,
    InternalError,
    NoSuchContainer,
    NoSuchExec,
    NoSuchImage,
    NotFound,
    NotModified,
    Unauthorized,
    Unavailable,
)
from corten.ids import new_id
from corten.types import container as c
from corten.types import exec as e
from corten.types import image as i
from corten.types import network as n
from corten.types import system as s
from corten.types.events import Actor, Message
from corten.types.operations import Archive, Attachment, LogStream, Output, Ping
from corten.types.pieces import FilePiece, Piece
from corten.types.progress import JSONMessage, StreamFailure
from corten.types.stats import Stats
from corten.types.volume import (
    Volume,
    VolumeCreateRequest,
    VolumeList,
    VolumesPruneReport,
    VolumeUpdateRequest,
)
from corten.wire import detachkeys, stdcopy

LAYER = random.Random(1).randbytes((5 << 20) + 12)
SAVED = b"head" + LAYER + b"end"


@dataclass
class FakeContainer:
    id: str
    name: str
    request: c.CreateRequest
    status: str = "created"
    code: int = 0
    log: list[tuple[int, bytes]] = field(default_factory=list)
    exits: list[asyncio.Future[int]] = field(default_factory=list)
    attached: list[socket.socket] = field(default_factory=list)
    stdin: list[socket.socket] = field(default_factory=list)
    held: list[socket.socket] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)


class FakeContainers:
    """A process is `cat`: what comes to stdin goes to stdout; it ends with its stdin.

    In the image `sleep` it does not read.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, FakeContainer] = {}
        self.closed = 0
        self.detached = 0
        self.log_readers = 0
        self.waiting = 0

    def get(self, ref: str) -> FakeContainer:
        for one in self.by_id.values():
            if ref == one.name or one.id.startswith(ref):
                return one
        raise NoSuchContainer(ref)

    async def create(self, name: str, request: c.CreateRequest, platform: str) -> c.CreateResponse:
        if request.image == "missing":
            raise NoSuchImage(request.image)
        if any(one.name == name for one in self.by_id.values()):
            raise Conflict(f'Conflict. The container name "/{name}" is already in use')
        one = FakeContainer(new_id(), name or "invented", request)
        self.by_id[one.id] = one
        return c.CreateResponse(id=one.id, warnings=[])

    async def list(self, options: object) -> list[c.ContainerSummary]:
        return [
            c.ContainerSummary(
                id=one.id,
                names=["/" + one.name],
                image=one.request.image,
                image_id="sha256:0",
                command="cat",
                created=1,
                ports=[],
                labels={},
                state=one.status,
                status=one.status,
                host_config=c.SummaryHostConfig(network_mode="bridge"),
                network_settings=c.SummaryNetworkSettings(networks={"bridge": n.EndpointSettings()}),
                mounts=[],
            )
            for one in self.by_id.values()
        ]

    async def inspect(self, ref: str, *, size: bool) -> c.ContainerInspect:
        one = self.get(ref)
        host = one.request.host_config
        assert host is not None
        return c.ContainerInspect(
            id=one.id,
            created="2026-01-02T03:04:05Z",
            path="cat",
            args=[],
            image="sha256:0",
            resolv_conf_path="",
            hostname_path="",
            hosts_path="",
            log_path="",
            name="/" + one.name,
            restart_count=0,
            driver="overlay2",
            platform="linux",
            mount_label="",
            process_label="",
            app_armor_profile="",
            exec_ids=None,
            host_config=host,
            graph_driver=c.GraphDriver(data=None, name="overlay2"),
            mounts=[],
            state=c.State(
                status=one.status,
                running=one.status == "running",
                paused=False,
                restarting=False,
                oom_killed=False,
                dead=False,
                pid=0,
                exit_code=one.code,
                error="",
                started_at="",
                finished_at="",
            ),
            config=c.ContainerConfig(image=one.request.image, tty=one.request.tty),
            network_settings=c.NetworkSettings(networks={"mine": n.EndpointSettings(dns_names=["x"])}),
        )

    async def start(self, ref: str, *, checkpoint: str = "", checkpoint_directory: str = "") -> None:
        one = self.get(ref)
        if one.status == "running":
            raise NotModified("already started")
        one.status = "running"
        if not one.stdin:
            self.output(one, stdcopy.STDOUT, b"hello\n")
            self.exit(one, 7)

    def output(self, one: FakeContainer, stream: int, data: bytes) -> None:
        one.log.append((stream, data))
        for peer in one.attached:
            peer.sendall(data if one.request.tty else stdcopy.frame(stream, data))

    def exit(self, one: FakeContainer, code: int) -> None:
        one.status, one.code = "exited", code
        for future in one.exits:
            if not future.done():
                future.set_result(code)
        for peer in one.attached:
            peer.close()
        one.attached.clear()

    async def stop(self, ref: str, *, timeout_s: int | None, signal: str) -> str:
        one = self.get(ref)
        if one.status != "running":
            raise NotModified("not running")
        self.exit(one, 137)
        return ""

    async def restart(self, ref: str, *, timeout_s: int | None, signal: str) -> None:
        await self.stop(ref, timeout_s=timeout_s, signal=signal)

    async def kill(self, ref: str, signal: str) -> None:
        one = self.get(ref)
        if one.status != "running":
            raise Conflict(f"cannot kill container: {ref}: container {one.id} is not running")
        self.exit(one, 137)

    async def pause(self, ref: str) -> None:
        self.get(ref).status = "paused"

    async def unpause(self, ref: str) -> None:
        self.get(ref).status = "running"

    async def update(self, ref: str, request: c.UpdateRequest) -> c.UpdateResponse:
        self.get(ref)
        return c.UpdateResponse(warnings=None)

    async def rename(self, ref: str, name: str) -> None:
        self.get(ref).name = name

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        self.get(ref).size = (rows, columns)

    async def wait(self, ref: str, condition: object) -> Awaitable[c.WaitResponse]:
        one = self.get(ref)
        future = asyncio.get_running_loop().create_future()
        if one.status == "exited":
            future.set_result(one.code)
        one.exits.append(future)

        async def result() -> c.WaitResponse:
            self.waiting += 1
            try:
                return c.WaitResponse(status_code=await future)
            finally:
                self.waiting -= 1

        return result()

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        one = self.get(ref)
        if one.status == "running" and not force:
            raise Conflict(f"cannot remove container {ref!r}: container is running")
        del self.by_id[one.id]

    async def attach(self, ref: str, options: object) -> Attachment:
        one = self.get(ref)
        ours, theirs = socket.socketpair()
        one.attached.append(ours)
        stdin_fd = None
        if one.request.open_stdin:
            inside, outside = socket.socketpair()
            one.stdin.append(inside)
            if not one.request.stdin_once:
                one.held.append(outside.dup())
            stdin_fd = outside.detach()
            if one.request.image != "sleep":
                arguments = one, inside, asyncio.get_running_loop()
                threading.Thread(target=self._cat, args=arguments, daemon=True).start()

        past = [*one.log]

        async def history() -> AsyncIterator[bytes]:
            for stream, data in past:
                yield data if one.request.tty else stdcopy.frame(stream, data)

        def closed() -> None:
            self.closed += 1

        def detached() -> None:
            self.detached += 1

        return Attachment(
            tty=one.request.tty,
            outputs=[Output(fd=theirs.detach())],
            stdin_fd=stdin_fd,
            history=history() if options.logs else None,
            detach_keys=detachkeys.parse(options.detach_keys),
            on_close=closed,
            on_detach=detached,
        )

    def close(self) -> None:
        for one in self.by_id.values():
            for sock in [*one.attached, *one.held, *(one.stdin if one.request.image == "sleep" else ())]:
                sock.close()

    def _cat(self, one: FakeContainer, inside: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread, because it may have to wait for its reader."""
        with inside, suppress(OSError, RuntimeError):  # the test may be over
            while data := inside.recv(65536):
                self.output(one, stdcopy.STDOUT, data)
            self.output(one, stdcopy.STDERR, b"eof\n")
            loop.call_soon_threadsafe(self.exit, one, 0)

    async def logs(self, ref: str, options: object) -> LogStream:
        one = self.get(ref)

        async def chunks() -> AsyncIterator[bytes]:
            self.log_readers += 1
            try:
                for stream, data in one.log:
                    yield data if one.request.tty else stdcopy.frame(stream, data)
                if options.follow:
                    await asyncio.get_running_loop().create_future()
            finally:
                self.log_readers -= 1

        return LogStream(tty=one.request.tty, chunks=chunks())

    async def prune(self, filters: object) -> c.ContainersPruneReport:
        return c.ContainersPruneReport(containers_deleted=None, space_reclaimed=0)


class FakeExecs:
    """`echo` prints its argument on stdout and `err` on stderr; `cat` copies; others are not found."""

    def __init__(self, containers: FakeContainers) -> None:
        self.containers = containers
        self.by_id: dict[str, e.ExecConfig] = {}
        self.settle = asyncio.Event()
        self.settle.set()

    async def create(self, container: str, config: e.ExecConfig) -> e.ExecCreateResponse:
        self.containers.get(container)
        exec_id = new_id()
        self.by_id[exec_id] = config
        return e.ExecCreateResponse(id=exec_id)

    async def check(self, exec_id: str) -> None:
        if exec_id not in self.by_id:
            raise NoSuchExec(exec_id)

    async def start(self, exec_id: str, config: e.ExecStartConfig) -> Attachment:
        command = self.by_id[exec_id].cmd or []
        if command[0] == "cat":
            read, write = os.pipe()
            return Attachment(tty=False, outputs=[Output(fd=read, stream=1)], stdin_fd=write)
        if command[0] != "echo":
            raise InternalError(
                f'OCI runtime exec failed: "{command[0]}": executable file not found in $PATH'
            )
        outputs = []
        for stream, text in ((1, command[1]), (2, "err")):
            read, write = os.pipe()
            os.write(write, text.encode())
            os.close(write)
            outputs.append(Output(fd=read, stream=stream))
        return Attachment(tty=config.tty, outputs=outputs, settled=self.settle.wait)

    async def start_detached(self, exec_id: str, config: e.ExecStartConfig) -> None:
        await self.check(exec_id)

    async def inspect(self, exec_id: str) -> e.ExecInspect:
        await self.check(exec_id)
        return e.ExecInspect(
            id=exec_id,
            running=False,
            exit_code=0,
            open_stdin=False,
            open_stderr=True,
            open_stdout=True,
            process_config=e.ExecProcess(tty=False, entrypoint="echo", arguments=[]),
            can_remove=False,
            container_id="",
            detach_keys="",
            pid=0,
        )

    async def resize(self, exec_id: str, rows: int, columns: int) -> None:
        await self.check(exec_id)


class FakeImages:
    def __init__(self) -> None:
        self.loaded: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.saving = 0

    async def list(self, options: object) -> list[i.ImageSummary]:
        return [
            i.ImageSummary(
                containers=0,
                created=1,
                id="sha256:0",
                labels=None,
                parent_id="",
                repo_digests=[],
                repo_tags=["busybox:latest"],
                shared_size=-1,
                size=42,
            )
        ]

    async def inspect(self, ref: str, platform: object = None, *, manifests: bool = False) -> i.ImageInspect:
        if "busybox" not in ref:
            raise NoSuchImage(ref)
        return i.ImageInspect(
            id="sha256:0",
            repo_tags=[ref],
            repo_digests=[],
            parent="",
            comment="",
            docker_version="",
            author="",
            config=i.ImageConfig(cmd=["sh"]),
            architecture="amd64",
            os="linux",
            size=42,
            graph_driver=i.ImageGraphDriver(data=None, name="overlay2"),
            root_fs=i.RootFS(type="layers"),
            metadata=i.ImageMetadata(),
        )

    async def history(self, ref: str, platform: object = None) -> list[i.HistoryItem]:
        return [i.HistoryItem(comment="", created=1, created_by="sh", id=ref, size=0, tags=None)]

    async def attestations(
        self, ref: str, platform: object, types: object, *, contents: bool
    ) -> list[i.AttestationStatement]:
        return []

    async def tag(self, ref: str, target: str) -> None:
        if target == "explode":
            raise RuntimeError("the secret is swordfish")

    async def remove(
        self, ref: str, *, force: bool, prune: bool, platforms: object = ()
    ) -> list[i.DeleteItem]:
        return [i.DeleteItem(untagged=ref), i.DeleteItem(deleted="sha256:0")]

    async def prune(self, filters: object) -> i.ImagesPruneReport:
        return i.ImagesPruneReport(images_deleted=None, space_reclaimed=0)

    async def pull(
        self, reference: str, *, platform: str, auth: object, all_tags: bool
    ) -> AsyncIterator[JSONMessage]:
        if "denied" in reference:
            raise NotFound(f"pull access denied for {reference}")
        yield JSONMessage(
            status=f"Pulling from {reference} all={all_tags} user={auth.username if auth else None}"
        )
        if "broken" in reference:
            raise InternalError("connection <reset>")

    async def load(
        self, body: AsyncIterator[bytes], *, quiet: bool, platforms: object
    ) -> AsyncIterator[JSONMessage]:
        size = 0
        async for data in body:
            await self.gate.wait()
            size += len(data)
        self.loaded.append(size)
        yield JSONMessage(stream=f"Loaded {size} bytes\n")

    async def import_(self, body: AsyncIterator[bytes], options: object) -> AsyncIterator[JSONMessage]:
        size = sum([len(data) async for data in body])
        yield JSONMessage(status=f"{options.reference or options.url} {size} {list(options.changes)}")

    async def save(self, refs: list[str], platforms: object) -> AsyncIterator[Piece]:
        for ref in refs:
            await self.inspect(ref)
        self.saving += 1
        try:
            with tempfile.TemporaryFile() as file:
                file.write(LAYER)
                file.flush()
                yield b"head"
                yield FilePiece(file.fileno(), 0, len(LAYER) - 7)
                yield FilePiece(file.fileno(), 3, 0)
                yield FilePiece(file.fileno(), len(LAYER) - 7, 8 if "torn" in refs[0] else 7)
                yield b"end"
        finally:
            self.saving -= 1

    async def changes(self, ref: str, since: str) -> AsyncIterator[bytes]:
        yield b"null\n"


class FakeNetworks:
    async def list(self, filters: object) -> list[n.Network]:
        return []

    async def inspect(self, ref: str) -> n.Network:
        raise NoSuchImage(ref)

    async def prune(self, filters: object) -> n.NetworksPruneReport:
        return n.NetworksPruneReport(networks_deleted=None)


class FakeSystem:
    def __init__(self) -> None:
        self._ping = Ping()
        self.subscribers: list[asyncio.Queue[Message]] = []

    def ping(self) -> Ping:
        return self._ping

    def version(self) -> s.Version:
        return s.Version(
            platform=s.VersionPlatform(name="Corten"),
            version="0.1.0",
            api_version="1.51",
            min_api_version="1.24",
            git_commit="",
            go_version="go1.0",
            os="linux",
            arch="amd64",
            kernel_version="6.18",
            components=[s.Component(name="Engine", version="0.1.0", details={})],
        )

    async def info(self) -> s.Info:
        raise InternalError("not in this fake")

    async def events(self, options: object) -> AsyncIterator[Message]:
        queue: asyncio.Queue[Message] = asyncio.Queue()
        self.subscribers.append(queue)

        async def messages() -> AsyncIterator[Message]:
            try:
                while True:
                    yield await queue.get()
            finally:
                self.subscribers.remove(queue)

        return messages()

    def emit(self, action: str) -> None:
        for queue in self.subscribers:
            queue.put_nowait(Message(type="container", action=action, actor=Actor(id="1", attributes={})))

    async def disk_usage(self, kinds: frozenset[str]) -> s.DiskUsage:
        return s.DiskUsage(layers_size=1, images=[] if "image" in kinds else None)

    async def fsck(self, *, repair: bool, contents: bool) -> s.FsckReport:
        return s.FsckReport()

    async def auth(self, auth: s.AuthConfig) -> s.AuthResponse:
        if auth.password != "right":
            raise Unauthorized("unauthorized: incorrect username or password")
        return s.AuthResponse(status="Login Succeeded")


class FakeVolumes:
    async def list(self, filters: object) -> VolumeList:
        return VolumeList(volumes=[self._volume()], warnings=None)

    async def inspect(self, name: str) -> Volume:
        if name != "data":
            raise NotFound(f"get {name}: no such volume")
        return self._volume()

    async def create(self, request: VolumeCreateRequest) -> Volume:
        return self._volume()

    async def remove(self, name: str, *, force: bool) -> None:
        raise Conflict(f"remove {name}: volume is in use - [c1]")

    async def update(self, name: str, request: VolumeUpdateRequest) -> None:
        raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")

    async def prune(self, filters: object, *, named: bool) -> VolumesPruneReport:
        return VolumesPruneReport(volumes_deleted=["data"] if named else [], space_reclaimed=0)

    def _volume(self) -> Volume:
        return Volume(
            driver="local", labels=None, mountpoint="/v/data/_data", name="data", options=None, scope="local"
        )


class FakeBuilder:
    async def build(self, options: object, context: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        async for _ in context:
            pass
        yield JSONMessage(stream="Step 1/1 : FROM scratch\n ---> 0\n")
        if options.target == "fail":
            raise StreamFailure("The command 'exit 7' returned a non-zero code: 7", code=7)
        yield JSONMessage(aux={"ID": "sha256:0"})

    async def output(self, token: str) -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"output"

        return pieces()

    async def prune(self, filters: object, *, all: bool, space: object) -> s.BuildPruneReport:
        return s.BuildPruneReport(caches_deleted=None, space_reclaimed=0)


@dataclass
class FakeEngine:
    """The fakes, the server, and the loop it runs on (in a thread of its own)."""

    loop: asyncio.AbstractEventLoop
    server: Server
    containers: FakeContainers
    images: FakeImages
    system: FakeSystem
    socket_path: str
    settle: asyncio.Event

    def call(self, function: Callable[..., object], *arguments: object) -> object:
        """Run a function on the loop."""

        async def run() -> object:
            result = function(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(self.socket_path)
        return sock


class FakeMonitor:
    """Nothing to be seen."""

    async def top(self, ref: str, arguments: str) -> c.TopResponse:
        raise NoSuchContainer(ref)

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Stats]:
        raise NoSuchContainer(ref)


class FakeCheckpoints:
    async def create(self, ref, request):
        return None

    async def list(self, ref, directory):
        return []

    async def remove(self, ref, name, directory):
        return None


class FakeCommitter:
    """Every container gives the same image."""

    async def commit(self, ref: str, options: object) -> Digest:
        return Digest("sha256:" + "1" * 64)


class FakeFiles:
    """One file, /etc/name, in every container; what is written is gone."""

    async def stat(self, ref: str, path: str) -> c.PathStat:
        if path != "/etc/name":
            raise NotFound(f"Could not find the file {path} in container {ref}")
        return c.PathStat(name="name", size=4, mode=0o644, mtime="2026-01-02T03:04:05Z", link_target="")

    async def read(self, ref: str, path: str) -> Archive:
        return Archive(stat=await self.stat(ref, path), chunks=self._bytes(b"tar"))

    async def write(
        self, ref: str, path: str, body: AsyncIterator[bytes], *, keep_types: bool, own: bool
    ) -> None:
        async for _ in body:
            pass

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        return self._bytes(b"tar")

    async def changes(self, ref: str) -> AsyncIterator[bytes]:
        return self._bytes(b"[]")

    async def _bytes(self, data: bytes) -> AsyncIterator[bytes]:
        yield data


class FakeBuildKit:
    """Says what it was opened with, and echoes."""

    def cancel(self, build_id: str) -> None:
        """There is nothing to be cancelled."""

    async def serve(self, stream: HijackedStream) -> None:
        await stream.send(b"grpc")
        await stream.finish()

    async def serve_session(
        self, stream: HijackedStream, *, identifier: str, shared_key: str, methods: Sequence[str]
    ) -> None:
        await stream.send(f"{identifier} {shared_key} {' '.join(methods)}".encode())
        await stream.finish()


class FakeDistribution:
    """Registries that have nothing."""

    async def inspect(self, reference, auth):
        raise NoSuchImage(reference)

    async def search(self, term, *, limit, filters, auth):
        return []


@contextmanager
def serving(
    socket_path: str, guard: Guard | None = None, authorization: Authorization | None = None
) -> Iterator[FakeEngine]:
    """A server with fake services, on a unix socket, in a thread."""
    loop = asyncio.new_event_loop()
    ready: asyncio.Future[FakeEngine] = loop.create_future()
    stop = asyncio.Event()

    async def main() -> None:
        containers, images, system = FakeContainers(), FakeImages(), FakeSystem()
        execs = FakeExecs(containers)
        services = Services(
            containers=containers,
            monitor=FakeMonitor(),
            execs=execs,
            files=FakeFiles(),
            checkpoints=FakeCheckpoints(),
            committer=FakeCommitter(),
            images=images,
            distribution=FakeDistribution(),
            networks=FakeNetworks(),
            volumes=FakeVolumes(),
            system=system,
            builder=FakeBuilder(),
            buildkit=FakeBuildKit(),
        )
        server = Server(EngineApi(services, guard, authorization))
        await server.listen_unix(socket_path, mode=0o600)
        ready.set_result(FakeEngine(loop, server, containers, images, system, socket_path, execs.settle))
        started.set()
        await stop.wait()
        await server.close(grace_s=1)
        containers.close()

    started = threading.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield ready.result()
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
