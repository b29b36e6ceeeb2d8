"""LLBBridge.ExecProcess: one stream of messages by which a client runs processes in its containers.

::

    client                                   we
    init ──────────────────────────────────► start
    file (fd 0), resize, signal ───────────► the process
          ◄────────────────────────────────  started; file (fds 1, 2; the last says eof); exit; done

Source: moby/buildkit, frontend/gateway/gateway.go (order, texts, codes).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from corten.builder.executor import BuildProcess, ProcessSpec
from corten.buildkit.containers import Containers
from corten.buildkit.failures import grpc_error
from corten.buildkit.grpc.server import ServerCall
from corten.buildkit.grpc.status import GRPCError
from corten.buildkit.grpc.status import Status as Code
from corten.buildkit.proto import gateway_pb2 as pb
from corten.buildkit.proto.rpc_pb2 import Status
from corten.errors import CortenError

Specify: TypeAlias = Callable[[pb.InitMessage], Awaitable[ProcessSpec]]
"""What a client asks for, as an executor takes it. Raises Forbidden, InvalidParameter."""

_STDIN = 0
_FDS = {"stdout": 1, "stderr": 2}
_UNKNOWN_EXIT = 255  # BuildKit's UnknownExitStatus
_CHUNK = 32 << 10  # of output in one message
_INPUT_AHEAD = 4  # messages of input that a process may be behind; one has up to 16 MiB
_MAX = 32  # processes of one stream at a time
_MAX_EVER = 10_000
_MAX_ID = 256


@dataclass(slots=True)
class _Running:
    process: BuildProcess | None = None  # None: it could not be started, or has ended
    input: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(_INPUT_AHEAD))  # b"": its end

    def ended(self) -> None:
        """Nothing that still comes for it is of interest; who waits to put more there goes on."""
        self.process = None
        while not self.input.empty():
            self.input.get_nowait()


class Processes:
    """The processes of one stream."""

    def __init__(
        self, containers: Containers, specify: Specify, stream: ServerCall[pb.ExecMessage, pb.ExecMessage]
    ) -> None:
        self._containers = containers
        self._specify = specify
        self._stream = stream
        self._sending = asyncio.Lock()
        self._running: dict[str, _Running] = {}

    async def run(self) -> None:
        """Do what the client says until it says no more and all processes have ended. Raises GRPCError."""
        try:
            async with asyncio.TaskGroup() as tasks:
                async for message in self._stream:
                    await self._take(message, tasks)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _take(self, message: pb.ExecMessage, tasks: asyncio.TaskGroup) -> None:
        identifier = message.process_id
        if not identifier:
            raise GRPCError(Code.INVALID_ARGUMENT, "ProcessID required")
        if len(identifier) > _MAX_ID:
            raise GRPCError(Code.INVALID_ARGUMENT, "ProcessID too long")
        kind = message.WhichOneof("input")
        running = self._running.get(identifier)
        if kind == "init":
            if running is not None:
                raise GRPCError(Code.ALREADY_EXISTS, f"Process {identifier} already exists")
            alive = sum(each.process is not None for each in self._running.values())
            if alive >= _MAX or len(self._running) >= _MAX_EVER:
                raise GRPCError(Code.RESOURCE_EXHAUSTED, "too many processes")
            await self._start(identifier, message.init, tasks)
            return
        if running is None:
            raise GRPCError(Code.NOT_FOUND, f'IO for process "{identifier}" not found')
        if running.process is None:
            return
        if kind == "file":
            await _give_input(running, message.file)
        elif kind == "resize":
            await running.process.resize(message.resize.rows, message.resize.cols)
        elif kind == "signal":
            await running.process.signal(_signal(message.signal.name))

    async def _start(self, identifier: str, init: pb.InitMessage, tasks: asyncio.TaskGroup) -> None:
        container = self._containers.get(init.container_id)
        wanted = set(init.fds)
        told = asyncio.Event()

        async def on_output(stream: str, data: bytes) -> None:
            await told.wait()
            if _FDS[stream] in wanted:
                for start in range(0, len(data), _CHUNK):
                    file = pb.FdMessage(fd=_FDS[stream], data=data[start : start + _CHUNK])
                    await self._send(identifier, file=file)

        exit: asyncio.Future[int]
        running = self._running[identifier] = _Running()
        try:
            running.process = process = await container.made.start(await self._specify(init), on_output)
            exit = asyncio.ensure_future(process.wait())
            feeding = tasks.create_task(_feed(running, process))
            exit.add_done_callback(lambda _: feeding.cancel())
            exit.add_done_callback(lambda _: running.ended())
        except Exception as error:  # it is told as its exit
            exit = asyncio.get_running_loop().create_future()
            exit.set_exception(error)
        await self._send(identifier, started=pb.StartedMessage())
        told.set()
        tasks.create_task(self._end(identifier, exit, sorted(wanted - {_STDIN})))

    async def _end(self, identifier: str, exit: asyncio.Future[int], outputs: list[int]) -> None:
        """Tell of a process's end."""
        try:
            await asyncio.wait((exit,))
        finally:
            exit.cancel()
        for fd in outputs:
            await self._send(identifier, file=pb.FdMessage(fd=fd, eof=True))
        await self._send(identifier, exit=_exit_message(exit))
        await self._send(identifier, done=pb.DoneMessage())

    async def _send(
        self,
        identifier: str,
        *,
        file: pb.FdMessage | None = None,
        started: pb.StartedMessage | None = None,
        exit: pb.ExitMessage | None = None,
        done: pb.DoneMessage | None = None,
    ) -> None:
        message = pb.ExecMessage(process_id=identifier, file=file, started=started, exit=exit, done=done)
        async with self._sending:
            await self._stream.send_message(message)


async def _give_input(running: _Running, file: pb.FdMessage) -> None:
    if file.fd != _STDIN:
        raise GRPCError(Code.INVALID_ARGUMENT, f"fd {file.fd} of a process takes no input")
    if file.data:
        await running.input.put(file.data)
    if file.eof:
        await running.input.put(b"")


def _exit_message(exit: asyncio.Future[int]) -> pb.ExitMessage:
    error = CortenError("context canceled") if exit.cancelled() else exit.exception()
    if error is None:
        code = exit.result()
        unhappy = Status(code=Code.UNKNOWN.value, message=f"exit code: {code}")
        return pb.ExitMessage(code=code, error=unhappy if code else None)
    failure = grpc_error(error if isinstance(error, Exception) else CortenError(str(error)))
    status = Status(code=failure.status.value, message=failure.message)
    return pb.ExitMessage(code=_UNKNOWN_EXIT, error=status)


async def _feed(running: _Running, process: BuildProcess) -> None:
    """Give the process its input, however slowly it reads."""
    while data := await running.input.get():
        await process.write(data)
    await process.end_input()
    while True:
        await running.input.get()  # of no interest any more


def _signal(name: str) -> int:
    try:
        return signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"].value
    except KeyError:
        raise GRPCError(Code.INVALID_ARGUMENT, f"Unknown signal {name}") from None
