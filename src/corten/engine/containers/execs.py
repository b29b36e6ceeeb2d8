"""`exec`: further processes in a running container."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from corten.engine.containers import links
from corten.engine.containers.attach import parse_detach_keys
from corten.engine.containers.config import merge_env
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.identity import IdentityCache
from corten.engine.containers.process import environment
from corten.engine.containers.spec import build_exec_process, container_hostname
from corten.engine.containers.state import Status
from corten.errors import Conflict, InternalError, InvalidParameter, NoSuchExec, NotFound
from corten.ids import new_id
from corten.runtimes.protocol import ExecRequest, ExecStarted, Exit, StartFailed
from corten.types.exec import ExecConfig, ExecCreateResponse, ExecInspect, ExecProcess, ExecStartConfig
from corten.types.operations import Attachment, Output

# Docker forgets a finished exec after five minutes; clients ask for the exit code within milliseconds.
_REMEMBER_S = 300.0
_FAILED_TO_EXEC = 126  # dockerd 26.1 says 126 for a missing command, too
_READ_BYTES = 1 << 16
_LAST_READS = 4  # more than a pipe holds


@dataclass(slots=True, eq=False)
class Exec:
    """One exec instance, in memory only: what an engine before us has started the runtime knows."""

    id: str
    container: Container
    config: ExecConfig
    started: bool = False
    pid: int = 0
    exit_code: int | None = None
    starting: bool = False
    early_exit: Exit | None = None
    detach_keys: bytes = b""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def command(self) -> str:
        """As events show it: dockerd joins program and arguments with a space, also without any."""
        program, *arguments = self.config.cmd or [""]
        return f"{program} {' '.join(arguments)}"

    @property
    def running(self) -> bool:
        """Whether the process exists."""
        return self.started and self.exit_code is None


class ExecService:
    """Implements `corten.api.routes.execs.Execs`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._identities = IdentityCache()
        self._execs: dict[str, Exec] = {}

    async def create(self, container: str, config: ExecConfig) -> ExecCreateResponse:
        """See Execs."""
        found = self._context.store.get(container)
        await found.settled()
        _check_running(found, container)
        if not config.cmd:
            raise InvalidParameter("No exec command specified")
        exec_ = Exec(new_id(), found, config, detach_keys=parse_detach_keys(config.detach_keys))
        self._execs[exec_.id] = exec_
        found.exec_ids.append(exec_.id)
        self._publish(exec_, f"exec_create: {exec_.command()}")
        return ExecCreateResponse(id=exec_.id)

    async def check(self, exec_id: str) -> None:
        """See Execs."""
        exec_ = await self._find(exec_id)
        if exec_.exit_code is not None:
            raise Conflict(f"Error: Exec command {exec_id} has already run")
        if exec_.started:
            raise Conflict(f"Error: Exec command {exec_id} is already running")
        _check_running(exec_.container, exec_.container.id)

    async def start(self, exec_id: str, config: ExecStartConfig) -> Attachment:
        """See Execs."""
        exec_ = await self._find(exec_id)
        started = await self._start(exec_, config, attached=True)
        if exec_.config.tty:
            return self._terminal(exec_, started, framed=not config.tty)
        # What the client asks for at the start decides how it is told, not what the exec is.
        outputs = []
        if started.stdout_fd is not None:
            outputs.append(Output(fd=started.stdout_fd, stream=None if config.tty else 1))
        if started.stderr_fd is not None:
            outputs.append(Output(fd=started.stderr_fd, stream=None if config.tty else 2))
        return Attachment(tty=False, outputs=outputs, stdin_fd=started.stdin_fd, settled=exec_.ended.wait)

    def _terminal(self, exec_: Exec, started: ExecStarted, *, framed: bool) -> Attachment:
        stream = 1 if framed else None
        outputs = [Output(fd=started.stdout_fd, stream=stream)] if started.stdout_fd is not None else []
        stdin_fd = started.stdin_fd
        if stdin_fd is not None and not exec_.config.attach_stdin:
            os.close(stdin_fd)
            stdin_fd = None
        return Attachment(
            tty=True,
            outputs=outputs,
            stdin_fd=stdin_fd,
            detach_keys=exec_.detach_keys if stdin_fd is not None else b"",
            end_with_stdin=stdin_fd is not None,
            on_detach=lambda: self._publish(exec_, "exec_detach"),
            settled=exec_.ended.wait,
        )

    async def run(self, container: Container, config: ExecConfig, collect: Callable[[bytes], object]) -> int:
        """Run a command of the engine's own in a container to its end; returns its exit code.

        collect: gets what it writes. When cancelled, the command is killed. Raises what `start` does.
        """
        exec_ = await self._find((await self.create(container.id, config)).id)
        started = await self._start(exec_, ExecStartConfig(), attached=True)
        outputs = [fd for fd in (started.stdout_fd, started.stderr_fd) if fd is not None]
        loop = asyncio.get_running_loop()
        for fd in outputs:
            os.set_blocking(fd, False)
            loop.add_reader(fd, _drain, fd, collect)
        try:
            await exec_.ended.wait()
            for fd in outputs:  # not to their end: the command may have left somebody who holds them
                _drain(fd, collect, _LAST_READS)
        finally:
            for fd in outputs:
                loop.remove_reader(fd)
                os.close(fd)
            if exec_.exit_code is None:
                self._context.background.start(self._kill(exec_), "kill a command")
        assert exec_.exit_code is not None
        return exec_.exit_code

    async def _kill(self, exec_: Exec) -> None:
        try:
            await self._context.runtime.kill(exec_.container.id, int(signal.SIGKILL), exec_id=exec_.id)
        except NotFound:
            return

    async def start_detached(self, exec_id: str, config: ExecStartConfig) -> None:
        """See Execs."""
        started = await self._start(await self._find(exec_id), config, attached=False)
        for fd in {started.stdin_fd, started.stdout_fd, started.stderr_fd}:
            if fd is not None:
                os.close(fd)

    async def _start(self, exec_: Exec, config: ExecStartConfig, *, attached: bool) -> ExecStarted:
        await self.check(exec_.id)
        wanted, container = exec_.config, exec_.container
        exec_.started = exec_.starting = True
        self._publish(exec_, f"exec_start: {exec_.command()}")
        try:
            process, seccomp = self._process(exec_)
            size = config.console_size or wanted.console_size
            request = ExecRequest(
                task_id=container.id,
                exec_id=exec_.id,
                process=process,
                terminal=wanted.tty,
                console_size=(size[0], size[1]) if size and size[0] and size[1] else None,
                stdin=attached and wanted.attach_stdin,
                stdout=attached and wanted.attach_stdout,
                stderr=attached and wanted.attach_stderr,
                seccomp=seccomp,
                about=msgspec.json.encode(msgspec.structs.replace(wanted, env=None)),
            )
            started = await self._context.runtime.exec(request)
        except BaseException as e:
            exec_.starting = False
            self._finish(exec_, _FAILED_TO_EXEC)
            if isinstance(e, StartFailed):
                raise exec_error(e) from e
            raise
        exec_.starting = False
        exec_.pid = started.pid
        if exec_.early_exit is not None:
            self.on_exit(exec_.early_exit)
        return started

    def _process(self, exec_: Exec) -> tuple[bytes, bytes | None]:
        context, config, container = self._context, exec_.config, exec_.container
        record = container.record
        image = context.images.get(record.image_id)
        identity = self._identities.resolve(
            image.id,
            f"{container.directory}/upper",
            context.images.lower_dirs(image),
            config.user or record.config.user,
            () if config.user else record.host_config.group_add or (),
        )
        hostname = container_hostname(container.id, record.config, record.host_config, os.uname().nodename)
        given = merge_env(record.config.env or (), config.env or ())
        return build_exec_process(
            record,
            context.host,
            identity=identity,
            args=list(config.cmd or ()),
            env=environment(
                given,
                tty=config.tty,
                hostname=hostname,
                home=identity.home,
                linked=self._linked_env(container),
            ),
            cwd=config.working_dir or record.config.working_dir or "/",
            terminal=config.tty,
            privileged=config.privileged,
        )

    def _linked_env(self, container: Container) -> list[str]:
        if not container.record.links:
            return []
        return links.environment(container, links.linked(self._context, container, all_must_run=False))

    async def inspect(self, exec_id: str) -> ExecInspect:
        """See Execs."""
        exec_ = await self._find(exec_id)
        config = exec_.config
        entrypoint, *arguments = config.cmd or [""]
        return ExecInspect(
            id=exec_.id,
            running=exec_.running,
            exit_code=exec_.exit_code,
            process_config=ExecProcess(
                tty=config.tty,
                entrypoint=entrypoint,
                arguments=arguments,
                privileged=config.privileged,
                user=config.user,
            ),
            open_stdin=config.attach_stdin,
            open_stderr=config.attach_stderr,
            open_stdout=config.attach_stdout,
            can_remove=False,  # Docker says so until some minutes after the end, when nobody asks any more
            container_id=exec_.container.id,
            detach_keys=config.detach_keys,
            pid=exec_.pid,
        )

    async def resize(self, exec_id: str, rows: int, columns: int) -> None:
        """See Execs."""
        exec_ = await self._find(exec_id)
        if not exec_.running or exec_.starting:
            raise Conflict(f"cannot resize a stopped container: Exec process {exec_id} is not running")
        await self._context.runtime.resize(exec_.container.id, rows, columns, exec_id=exec_id)

    def on_exit(self, exit: Exit) -> None:
        """The runtime says that an exec's process has ended."""
        exec_ = self._execs.get(exit.exec_id or "")
        if exec_ is None:
            return
        if exec_.starting:
            exec_.early_exit = exit
            return
        self._finish(exec_, exit.code)

    def container_ended(self, container: Container) -> None:
        """Its execs ended with it; what the runtime did not say of one counts as killed."""
        for exec_id in container.exec_ids:
            exec_ = self._execs.get(exec_id)
            if exec_ is not None and exec_.running and not exec_.starting:
                self._finish(exec_, 137)

    def _finish(self, exec_: Exec, code: int) -> None:
        exec_.exit_code = code
        exec_.ended.set()
        if exec_.id in exec_.container.exec_ids:
            exec_.container.exec_ids.remove(exec_.id)
        self._publish(exec_, "exec_die", exitCode=str(code))
        self._forget_later(exec_)

    def _forget_later(self, exec_: Exec) -> None:
        asyncio.get_running_loop().call_later(_REMEMBER_S, self._execs.pop, exec_.id, None)

    def _publish(self, exec_: Exec, action: str, **extra: str) -> None:
        self._context.publish(exec_.container, action, execID=exec_.id, **extra)

    async def _find(self, exec_id: str) -> Exec:
        """One of ours, or one that an engine before us has started. Raises NoSuchExec."""
        if found := self._execs.get(exec_id):
            return found
        try:
            info = await self._context.runtime.exec_info(exec_id)
        except NotFound:
            raise NoSuchExec(exec_id) from None
        container = self._context.store.find(info.task_id)
        if container is None:
            raise NoSuchExec(exec_id)
        if found := self._execs.get(exec_id):
            return found  # two have asked
        config = msgspec.convert(info.about, ExecConfig)
        exec_ = Exec(exec_id, container, config, started=True, pid=info.pid, exit_code=info.code)
        self._execs[exec_id] = exec_
        if info.code is None:
            container.exec_ids.append(exec_id)
        else:
            exec_.ended.set()
            self._forget_later(exec_)
        return exec_


def _drain(fd: int, collect: Callable[[bytes], object], reads: int = 1) -> None:
    """Read from a pipe, so often at most: who writes faster than we read must not keep the event loop.

    At the pipe's end the loop need not look any more.
    """
    try:
        for _ in range(reads):
            if not (data := os.read(fd, _READ_BYTES)):
                asyncio.get_running_loop().remove_reader(fd)
                return
            collect(data)
    except BlockingIOError:
        return


def _check_running(container: Container, ref: str) -> None:
    if container.status is Status.PAUSED:
        raise Conflict(f"Container {ref} is paused, unpause the container before exec")
    if container.status is Status.RESTARTING:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.status.is_running():
        raise Conflict(f"container {container.id} is not running")


def exec_error(error: StartFailed) -> InvalidParameter | InternalError:
    """A runtime's failure in the words that Docker's clients parse."""
    message = f"OCI runtime exec failed: exec failed: unable to start container process: {error}"
    return InvalidParameter(message) if error.stage == "exec" else InternalError(message)
