"""Containers that a build's client runs processes in (LLBBridge.NewContainer, ExecProcess), and `buildx debug`."""

import asyncio
import os
import pty
import secrets
import select
import struct
import termios
import time
from contextlib import asynccontextmanager, contextmanager
from fcntl import ioctl
from functools import partial

import pytest
from grpclib.client import StreamStreamMethod
from grpclib.exceptions import GRPCError
from llb import BRIDGE, Graph, connected
from plugins import SUITES, Docker, ends_without_leftovers

from corten.buildkit.proto import gateway_pb2 as gateway
from corten.buildkit.proto import llb_pb2 as pb

SHELL = ["/bin/sh", "-c"]
TMPFS, CACHE = 4, 3


class Process:
    """One process, and what it has said until now."""

    def __init__(self, stream):
        self.stream = stream
        self.output = {1: b"", 2: b""}
        self.exit = None
        self.left = False

    async def leave(self):
        self.left = True
        await self.stream.cancel()

    async def send(self, **message):
        await self.stream.send_message(gateway.ExecMessage(process_id="p", **message))

    async def until(self, text):
        while text not in self.output[1]:
            assert await self._next(), self.output

    async def end(self):
        while await self._next():
            pass
        return self.exit.code, self.output[1], self.output[2]

    async def _next(self):
        message = await self.stream.recv_message()
        kind = message.WhichOneof("input")
        if kind == "file":
            self.output[message.file.fd] += message.file.data
        elif kind == "exit":
            self.exit = message.exit
        return kind != "done"


class Container:
    def __init__(self, client, identifier):
        self.client = client
        self.id = identifier

    @asynccontextmanager
    async def process(self, *args, fds=(0, 1, 2), tty=False, security=0, **meta):
        method = StreamStreamMethod(
            self.client.channel, f"{BRIDGE}/ExecProcess", gateway.ExecMessage, gateway.ExecMessage
        )
        metadata = {"buildkit-controlapi-buildid": self.client.ref}
        async with method.open(metadata=metadata) as stream:
            process = Process(stream)
            init = gateway.InitMessage(
                container_id=self.id, meta=pb.Meta(args=args, **meta), fds=fds, tty=tty, security=security
            )
            await process.send(init=init)
            assert (await stream.recv_message()).WhichOneof("input") == "started"
            yield process
            if not process.left:
                await stream.end()

    async def run(self, script, **more):
        async with self.process(*SHELL, script, **more) as process:
            await process.send(file=gateway.FdMessage(fd=0, eof=True))
            return await process.end()

    async def release(self):
        request = gateway.ReleaseContainerRequest(container_id=self.id)
        await self.client.call(f"{BRIDGE}/ReleaseContainer", request, gateway.ReleaseContainerResponse)


async def container(client, *mounts, identifier="", **more):
    graph = Graph()
    root = await client.reference(
        graph.result(graph.source("docker-image://docker.io/library/busybox:latest"))
    )
    identifier = identifier or secrets.token_hex(4)
    request = gateway.NewContainerRequest(
        container_id=identifier, mounts=[pb.Mount(dest="/", result_id=root), *mounts], **more
    )
    await client.call(f"{BRIDGE}/NewContainer", request, gateway.NewContainerResponse)
    return Container(client, identifier)


def driven(engine, use):
    """Run `use(client)` in a build of its own."""

    async def main():
        async with connected(engine) as client, client.driven():
            return await asyncio.wait_for(use(client), 60)

    return asyncio.run(main())


def test_output_input_and_exit_codes(builder):
    async def use(client):
        made = await container(client, hostname="here")
        script = "cat; echo $A $(hostname) $(pwd) $(id -u); echo err >&2; exit 7"
        async with made.process(*SHELL, script, env=["A=1"], cwd="/tmp", user="9") as process:
            await process.send(file=gateway.FdMessage(fd=0, data=b"from the client\n"))
            await process.send(file=gateway.FdMessage(fd=0, eof=True))
            said = await process.end()
        return said, process.exit.error.message

    assert driven(builder, use) == (
        (7, b"from the client\n1 here /tmp 9\n", b"err\n"),
        "exit code: 7",
    )


def test_further_processes_live_and_end_with_the_first(builder):
    async def use(client):
        made = await container(client)
        async with made.process(*SHELL, "echo up > /up; echo ready; read end; exit 3") as first:
            await first.until(b"ready\n")
            second = await made.run("cat /up; echo $$; exit 4")
            async with made.process(*SHELL, "echo waiting; exec sleep 1000") as third:
                await third.until(b"waiting\n")
                await first.send(file=gateway.FdMessage(fd=0, data=b"\n"))
                ends = (await first.end(), (await third.end())[0])
        too_late = await made.run("true")
        return second, ends, too_late[0]

    second, ends, too_late = driven(builder, use)
    assert (second[0], second[1].splitlines()[0]) == (4, b"up")
    assert second[1].splitlines()[1] != b"1"
    assert ends == ((3, b"ready\n", b""), 137)
    assert too_late == 255


def test_a_terminal_has_a_size_and_takes_signals(builder):
    async def use(client):
        made = await container(client)
        script = "tty; trap 'stty size; exit 9' WINCH; echo ready; while :; do sleep 1; done"
        async with made.process(*SHELL, script, tty=True) as process:
            await process.until(b"ready\r\n")
            await process.send(resize=gateway.ResizeMessage(rows=33, cols=77))
            first = await process.end()
        other = await container(client)
        async with other.process(
            *SHELL, "trap 'echo told; exit 8' USR1; echo ready; while :; do sleep 0.1; done"
        ) as p:
            await p.until(b"ready\n")
            await p.send(signal=gateway.SignalMessage(name="USR1"))
            second = await p.end()
        return first, second

    first, second = driven(builder, use)
    assert first[:2] == (9, b"/dev/pts/0\r\nready\r\n33 77\r\n")
    assert second == (8, b"ready\ntold\n", b"")


def test_mounts(builder):
    async def use(client):
        graph = Graph()
        made = graph.file(None, pb.FileAction(make_file=pb.MakeFile(path="/f", mode=0o644, data=b"kept\n")))
        files = await client.reference(graph.result(made))
        mounts = (
            pb.Mount(dest="/ro", result_id=files, readonly=True),
            pb.Mount(dest="/rw", result_id=files),
            pb.Mount(dest="/t", type=TMPFS, tmpfs=pb.TmpfsOpt(size=1 << 20)),
            pb.Mount(dest="/c", type=CACHE, cache=pb.CacheOpt(id="gateway")),
            pb.Mount(dest="../../../x", result_id=files, readonly=True),
        )
        script = "cat /ro/f /x/f; echo no > /ro/f; echo changed > /rw/f; cat /rw/f; echo cached >> /c/f; df /t | tail -1 | awk '{print $2}'"
        said = await (await container(client, *mounts)).run(script)
        again = await (await container(client, *mounts)).run("cat /rw/f /c/f")
        return said, again

    said, again = driven(builder, use)
    assert said[1] == b"kept\nkept\nchanged\n1024\n"
    assert b"Read-only file system" in said[2]
    assert again[1] == b"kept\ncached\n"


def test_what_cannot_be_started_is_told_as_its_exit(builder):
    async def use(client):
        made = await container(client)
        async with made.process("/bin/none") as process:
            code = (await process.end())[0]
        return code, process.exit.error.message

    code, message = driven(builder, use)
    assert code == 255
    assert "/bin/none" in message
    assert "no such file or directory" in message


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda client: container(client, network=1), "network.host"),
        (lambda client: container(client, pb.Mount(dest="/x", result_id="unknown")), "no such ref: unknown"),
        (lambda client: container(client, pb.Mount(dest="/", type=TMPFS)), "mount upon the root"),
        (lambda client: Container(client, "none").run("true"), 'container "none" previously released or not'),
        (lambda client: Container(client, "none").release(), "container details for none not found"),
        (lambda client: _twice(client), "Container one already exists"),
    ],
)
def test_what_is_refused(builder, use, message):
    with pytest.raises(GRPCError, match=message):
        driven(builder, use)


async def _twice(client):
    await container(client, identifier="one")
    await container(client, identifier="one")


def test_more_power_needs_to_be_granted(builder):
    async def use(client):
        made = await container(client)
        async with made.process("true", security=1) as process:
            await process.end()
        return process.exit.error.message

    assert "security.insecure" in driven(builder, use)


@pytest.mark.parametrize("how", ["release", "the build ends", "the client goes"])
def test_nothing_is_left_of_a_container(builder, how):
    async def use(client):
        made = await container(client)
        async with made.process(*SHELL, "echo ready; exec sleep 1000") as process:
            await process.until(b"ready\n")
            if how == "the client goes":
                client.channel.close()
                return
            if how == "release":
                await made.release()
                await process.end()
            await process.leave()

    try:
        driven(builder, use)
    except Exception:
        assert how == "the client goes"
    ends_without_leftovers(builder)


def test_files_of_a_container_are_looked_at_while_it_runs(builder):
    async def use(client):
        graph = Graph()
        made = graph.file(None, pb.FileAction(make_file=pb.MakeFile(path="/f", mode=0o644, data=b"kept\n")))
        files = await client.reference(graph.result(made))
        made = await container(
            client, pb.Mount(dest="/ro", result_id=files, readonly=True), pb.Mount(dest="/t", type=TMPFS)
        )
        async with made.process(*SHELL, "echo now > /n; ln -s n /l; echo ready; read end") as process:
            await process.until(b"ready\n")

            async def call(method, kind, answer, **fields):
                return await client.call(f"{BRIDGE}/{method}", kind(ref=made.id, **fields), answer)

            read = partial(call, "ReadFileContainer", gateway.ReadFileRequest, gateway.ReadFileResponse)
            status = partial(call, "StatFileContainer", gateway.StatFileRequest, gateway.StatFileResponse)
            listed = partial(call, "ReadDirContainer", gateway.ReadDirRequest, gateway.ReadDirResponse)
            assert (await read(path="/n")).data == b"now\n"
            assert (await read(path="/f", mount=1)).data == b"kept\n"
            assert (await status(path="/l")).stat.link == b"n"
            assert [each.path for each in (await listed(path="/", mount=1)).entries] == [b"f"]
            for number, why in ((2, "no directory that can be looked into"), (3, "index 3 is out of bounds")):
                with pytest.raises(GRPCError, match=why):
                    await read(path="/f", mount=number)
            await process.send(file=gateway.FdMessage(fd=0, eof=True))
            await process.end()

    driven(builder, use)


@pytest.mark.parametrize("suite", SUITES)
def test_buildx_debug(builder, tmp_path, suite):
    docker = Docker(builder, suite, tmp_path)
    docker.write({"Dockerfile": "FROM busybox\nRUN echo made > /made\nENV A=1\n"})
    with _debugged(docker, "--invoke=/bin/sh", "--on=always") as terminal:
        _read(terminal, "# ")
        os.write(terminal, b"cat /made; echo a$A; tty\r")
        assert "made\na1\n/dev/pts/0\n" in _read(terminal, "/dev/pts/0", "# ").replace("\r", "")
        # buildx hears of the process's end and of its output's in different goroutines: one may say the code
        # after the prompt of the other, and drop output that is on its way.
        os.write(terminal, b"exit 5\r")
        _read(terminal, "(buildx)", "exit code: 5")


@pytest.mark.parametrize("suite", SUITES)
def test_buildx_debug_shows_what_a_failed_command_has_left(builder, tmp_path, suite):
    docker = Docker(builder, suite, tmp_path)
    dockerfile = (
        "FROM busybox\nENV A=1\n"
        "RUN --mount=type=bind,target=/context --mount=type=cache,target=/c echo half > /made; exit 3\n"
    )
    docker.write({"Dockerfile": dockerfile, "f": "of the context\n"})
    with _debugged(docker, "--invoke=/bin/sh", "--on=error") as terminal:
        _read(terminal, "# ")
        os.write(terminal, b"cat /made /context/f; echo a$A\r")
        said = _read(terminal, "\na1", "# ").replace("\r", "")
        assert "half\nof the context\na1" in said
        os.write(terminal, b"exit 5\r")
        _read(terminal, "(buildx)", "exit code: 5")


@contextmanager
def _debugged(docker, *flags):
    """The terminal of `buildx debug build`, which is to end when it is told `exit`."""
    arguments = ("buildx", "debug", *flags, "build", "--progress=plain", ".")
    environment = ["BUILDX_EXPERIMENTAL=1", f"DOCKER_HOST={docker.engine.docker_host}"]
    command = docker.command(*arguments, env=environment)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    try:
        ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 71, 0, 0))
        yield terminal
        os.write(terminal, b"exit\r")
        _read(terminal)
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def _read(terminal, *texts):
    """What comes until all of these have, or, without any, until its end."""
    said = ""
    deadline = time.monotonic() + 60
    while not texts or any(text not in said for text in texts):
        assert time.monotonic() < deadline, said
        if select.select([terminal], [], [], 1)[0]:
            try:
                said += os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                assert not texts, said
                break
    return said
