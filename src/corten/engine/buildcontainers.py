"""Containers in which a build's client runs processes: `corten.builder.executor.BuildContainer`.

The first process is a task like a build's command; further ones are execs in it.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from corten.builder.executor import BuildProcess, ExecSpec, OnOutput, ProcessSpec
from corten.engine.stepoutput import pump
from corten.errors import Conflict, NotFound
from corten.ids import new_id
from corten.runtimes.protocol import ExecStarted, Runtime

if TYPE_CHECKING:
    from corten.engine.buildexecutor import RuntimeExecutor

T = TypeVar("T")
_KILLED = 137  # what ends with its container and nobody has told of


class StepContainer:
    """See `corten.builder.executor.BuildContainer`."""

    def __init__(self, executor: RuntimeExecutor, spec: ExecSpec) -> None:
        self._executor = executor
        self._spec = spec
        self._first: asyncio.Future[int] | None = None
        self._others: dict[str, _Further] = {}
        self._closed = False

    async def start(self, process: ProcessSpec, on_output: OnOutput) -> BuildProcess:
        """See BuildContainer."""
        if self._closed:
            raise Conflict(f"container {self._spec.id} has been released")
        if self._first is None:
            return await self._start_first(process, on_output)
        if self._first.done():
            raise Conflict(f"container {self._spec.id} has stopped")
        identifier = new_id()
        exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        executor = self._executor
        started = await executor.exec(self._spec, process, identifier, lambda told: _settle(exit, told.code))
        further = _Further(executor.context.runtime, self._spec.id, identifier, started, exit, on_output)
        self._others[identifier] = further
        exit.add_done_callback(lambda _: self._forget(identifier))
        if self._first.done():
            self._all_ended()
        return further

    async def _start_first(self, process: ProcessSpec, on_output: OnOutput) -> BuildProcess:
        started: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._spec = replace(
            self._spec,
            args=process.args,
            env=process.env,
            cwd=process.cwd,
            user=process.user,
            privileged=process.privileged,
            terminal=process.terminal,
            stdin=process.stdin,
            on_start=lambda fd: _settle(started, fd),
        )
        self._first = asyncio.ensure_future(self._executor.run(self._spec, on_output))
        self._first.add_done_callback(lambda _: self._all_ended())
        await asyncio.wait((started, self._first), return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            self._first.result()  # says why it could not be started
        runtime = self._executor.context.runtime
        return _First(runtime, self._spec.id, started.result(), self._first)

    def _forget(self, identifier: str) -> None:
        self._executor.context.transient.pop(identifier, None)
        self._others.pop(identifier, None)

    def _all_ended(self) -> None:
        """The first process has taken the others with it."""
        for further in [*self._others.values()]:
            _settle(further.exit, _KILLED)

    async def close(self) -> None:
        """See BuildContainer."""
        self._closed = True
        if self._first is not None:
            self._first.cancel()
            await asyncio.wait((self._first,))


class _Process:
    """What first and further processes have in common. `stdin`: ours, or None."""

    def __init__(self, runtime: Runtime, task_id: str, exec_id: str | None, stdin: int | None) -> None:
        self._runtime = runtime
        self._task_id = task_id
        self._exec_id = exec_id
        self._stdin = stdin
        if stdin is not None:
            os.set_blocking(stdin, False)

    async def write(self, data: bytes) -> None:
        """See BuildProcess."""
        view = memoryview(data)
        while view and self._stdin is not None:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await self._writable(self._stdin)
            except OSError:
                self._close_stdin()  # nobody reads any more

    async def _writable(self, stdin: int) -> None:
        """Wait until it can be written to, and no longer watch it then: it can be for most of the time."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(stdin, _settle, ready, None)
        try:
            await ready
        finally:
            if self._stdin is not None:  # else the number may be another's by now
                loop.remove_writer(stdin)

    async def end_input(self) -> None:
        """See BuildProcess."""
        self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin is not None:
            asyncio.get_running_loop().remove_writer(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    async def signal(self, number: int) -> None:
        """See BuildProcess."""
        with suppress(NotFound):
            await self._runtime.kill(self._task_id, number, exec_id=self._exec_id)

    async def resize(self, rows: int, columns: int) -> None:
        """See BuildProcess."""
        with suppress(NotFound):
            await self._runtime.resize(self._task_id, rows, columns, exec_id=self._exec_id)


class _First(_Process):
    def __init__(self, runtime: Runtime, task_id: str, stdin: int | None, run: asyncio.Future[int]) -> None:
        super().__init__(runtime, task_id, None, stdin)
        self._run = run

    async def end_input(self) -> None:
        """See BuildProcess."""
        self._close_stdin()
        with suppress(NotFound):
            await self._runtime.close_stdin(self._task_id)

    async def wait(self) -> int:
        """See BuildProcess."""
        try:
            return await asyncio.shield(self._run)
        finally:
            self._close_stdin()


class _Further(_Process):
    def __init__(
        self,
        runtime: Runtime,
        task_id: str,
        exec_id: str,
        started: ExecStarted,
        exit: asyncio.Future[int],
        on_output: OnOutput,
    ) -> None:
        super().__init__(runtime, task_id, exec_id, started.stdin_fd)
        self.exit = exit
        pipes = {"stdout": started.stdout_fd, "stderr": started.stderr_fd}
        self._pumps = [
            asyncio.ensure_future(_pump(fd, stream, on_output))
            for stream, fd in pipes.items()
            if fd is not None
        ]

    async def wait(self) -> int:
        """See BuildProcess."""
        try:
            code = await asyncio.shield(self.exit)
            await asyncio.gather(*self._pumps)
            return code
        finally:
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)
            self._close_stdin()


async def _pump(fd: int, stream: str, on_output: OnOutput) -> None:
    """Hand over what comes from a descriptor, until its end; it is closed then."""
    try:
        await pump(fd, stream, on_output)
    finally:
        os.close(fd)


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
