"""The builder's commands, run on the engine's own runtime: `corten.builder.executor.Executor`.

A command is a task like a container's, only that it has no row, no name and no log: when the engine dies,
the next one finds a task that nobody knows and ends it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from corten.builder.executor import (
    AgentSocket,
    BindDirectory,
    BuildContainer,
    ExecMount,
    ExecSpec,
    OnOutput,
    ProcessSpec,
    SecretFile,
    Tmpfs,
)
from corten.digest import Digest
from corten.engine.agentsockets import AgentSockets
from corten.engine.buildcontainers import StepContainer
from corten.engine.cdi import DeviceEdits, find_devices
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.hostfiles import HostFiles
from corten.engine.containers.identity import IdentityCache
from corten.engine.containers.networking import (
    Attached,
    allocate,
    attached,
    helpers_ready,
    owned_sandbox,
)
from corten.engine.containers.process import environment
from corten.engine.containers.record import ContainerRecord, MountRecord, StateRecord
from corten.engine.containers.spec import StartFacts, build_exec_process, build_spec
from corten.engine.containers.start import start_message
from corten.engine.containers.state import Status
from corten.engine.containers.userns import IdMaps
from corten.engine.containers.users import Identity
from corten.engine.stepnetworks import StepNetworks, may_share
from corten.engine.stepoutput import OutputPipes, hand_over_terminal
from corten.errors import Conflict, NotFound
from corten.linux.pidfd import exit_status
from corten.linux.process import exit_code
from corten.runtimes.protocol import (
    ExecRequest,
    ExecStarted,
    Exit,
    LogTarget,
    Overlay,
    StartFailed,
    TaskRequest,
)
from corten.soon import Soon
from corten.types.container import ContainerConfig, HostConfig

_HOSTNAME = "buildkitsandbox"
_UNKNOWN = 255  # what a supervisor says of a task that ended before it came


class RuntimeExecutor:
    """Implements `corten.builder.executor.Executor`."""

    def __init__(self, context: Context, directory: str) -> None:
        """directory: below exec-root, in memory; what an engine that was killed has left there goes."""
        self._context = context
        self._directory = directory
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory, 0o700)
        self._files = HostFiles(context.network.config)
        self._identities = IdentityCache()
        self._networks = StepNetworks(context)
        self._left: list[str] = []
        self._sweep = Soon(self._remove_left)

    def container(self, spec: ExecSpec) -> BuildContainer:
        """See Executor."""
        return StepContainer(self, spec)

    async def run(self, spec: ExecSpec, on_output: OnOutput) -> int:
        """See Executor."""
        directory = os.path.join(self._directory, spec.id[:24])
        os.mkdir(directory, 0o700)
        try:
            return await self._run(spec, on_output, directory)
        finally:
            self._context.transient.pop(spec.id, None)
            self._left.append(directory)
            self._sweep.ask()

    def leave(self, build: str) -> None:
        """See Executor."""
        self._networks.leave(build)
        self._sweep.now()

    def _remove_left(self) -> None:
        """Remove the directories of commands that have ended."""
        while self._left:
            shutil.rmtree(self._left.pop(), ignore_errors=True)

    async def _run(self, spec: ExecSpec, on_output: OnOutput, directory: str) -> int:
        context = self._context
        ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

        def on_exit(exit: Exit) -> None:
            if not ended.done():
                ended.set_result(exit)

        context.transient[spec.id] = on_exit
        agents = AgentSockets(directory)
        try:
            mounts = [await _mount(mount, directory, agents) for mount in spec.mounts]
            devices = find_devices(spec.devices, context.settings.cdi_directories)
            record = _record(spec, mounts, devices, _id_maps(spec, context.host.id_maps))
            container = Container(record, StateRecord(), Status.CREATED, directory, directory)
            async with self._network(spec, container) as network:
                return await self._run_task(spec, container, network, on_output, ended)
        finally:
            await agents.close()

    @asynccontextmanager
    async def _network(self, spec: ExecSpec, container: Container) -> AsyncIterator[Attached]:
        """What the command has of networks, until it has ended."""
        if may_share(container.record):
            with self._networks.lent(spec.build, container) as network:
                yield network
            return
        context = self._context
        sandbox = await owned_sandbox(context, container)
        endpoints = allocate(context, container, sandbox)
        await helpers_ready(context, container, endpoints)
        try:
            with attached(context, container, endpoints) as network:
                yield network
        finally:
            context.network.members.release(container.id)
            context.resolver.drop(container.id, endpoints or ())

    async def _run_task(
        self,
        spec: ExecSpec,
        container: Container,
        network: Attached,
        on_output: OnOutput,
        ended: asyncio.Future[Exit],
    ) -> int:
        runtime, pidfd = self._context.runtime, -1
        try:
            if spec.terminal:
                with socket.socket(
                    fileno=await runtime.attach_output(spec.id, stdout=True, stderr=True)
                ) as output:
                    pidfd = await self._start(spec, container, network, None)
                    await hand_over_terminal(output, on_output)
            else:
                with OutputPipes() as pipes:
                    pidfd = await self._start(spec, container, network, pipes.ends)
                    pipes.close_ends()
                    await pipes.hand_over(on_output, ended)
            exit = await ended
            code = _seen(exit.code, pidfd)
        except BaseException:
            await self._kill(spec.id, ended)
            raise
        finally:
            if pidfd >= 0:
                os.close(pidfd)
        await runtime.forget(spec.id)
        return code

    def _identity(self, spec: ExecSpec, user: str) -> Identity:
        return self._identities.resolve(":".join(spec.lower), spec.upper, spec.lower, user, ())

    async def exec(
        self, spec: ExecSpec, process: ProcessSpec, exec_id: str, on_exit: Callable[[Exit], None]
    ) -> ExecStarted:
        """Start a further process in the container of `spec`, which runs. Raises StartFailed, NotFound.

        on_exit: is told of its end, until the caller takes `exec_id` out of the context's `transient`.
        """
        context = self._context
        identity = self._identity(spec, process.user)
        document, seccomp = build_exec_process(
            _record(spec, (), DeviceEdits(), _id_maps(spec, context.host.id_maps)),
            context.host,
            identity=identity,
            args=list(process.args),
            env=environment(
                process.env, tty=process.terminal, hostname=spec.hostname or _HOSTNAME, home=identity.home
            ),
            cwd=process.cwd,
            terminal=process.terminal,
            privileged=process.privileged,
        )
        context.transient[exec_id] = on_exit
        try:
            return await context.runtime.exec(
                ExecRequest(
                    task_id=spec.id,
                    exec_id=exec_id,
                    process=document,
                    terminal=process.terminal,
                    stdin=process.stdin,
                    seccomp=seccomp,
                )
            )
        except BaseException as e:
            del context.transient[exec_id]
            if isinstance(e, StartFailed):
                raise StartFailed(start_message(e), errno=e.errno, stage=e.stage) from e
            raise

    @property
    def context(self) -> Context:
        """The engine's."""
        return self._context

    async def _stdin(self, spec: ExecSpec) -> int | None:
        if not spec.stdin:
            return None
        try:
            return await self._context.runtime.attach_stdin(spec.id)
        except NotFound:
            return None  # it has ended already

    async def _start(
        self, spec: ExecSpec, container: Container, network: Attached, output: tuple[int, int] | None
    ) -> int:
        """Start it; a pidfd of its process, -1 if that has ended already. Raises StartFailed."""
        context = self._context
        hostname = spec.hostname or _HOSTNAME
        facts = StartFacts(
            identity=self._identity(spec, spec.user),
            hostname=hostname,
            files=self._files.write(
                container,
                hostname=hostname,
                addresses=network.addresses,
                host_gateway=context.network.host_gateway,
                resolver=network.resolver,
            ),
            namespace_path=_no_namespace,
        )
        document, seccomp = build_spec(container.record, context.host, facts)
        request = TaskRequest(
            id=spec.id,
            spec=document,
            overlay=Overlay(lower=spec.lower, upper=spec.upper, work=spec.work, volatile=True),
            log=LogTarget(),
            seccomp=seccomp,
            netns_fd=network.netns_fd,
            output_fds=output,
            terminal=spec.terminal,
            open_stdin=spec.stdin,
        )
        starting = asyncio.ensure_future(context.runtime.start(request))
        try:
            pid = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])  # what is killed on its way might still come to life
            raise
        except StartFailed as e:
            raise StartFailed(start_message(e), errno=e.errno, stage=e.stage) from e
        if spec.on_start is not None:
            spec.on_start(await self._stdin(spec))
        try:
            return os.pidfd_open(pid)
        except ProcessLookupError:
            return -1

    async def _kill(self, task_id: str, ended: asyncio.Future[Exit]) -> None:
        """Nothing of it is left when this returns."""
        try:
            await self._context.runtime.kill_all(task_id)
        except NotFound:
            return  # never started, or gone
        await ended
        await self._context.runtime.forget(task_id)


def _no_namespace(ref: str, kind: str) -> str:
    raise Conflict(f"a build cannot join the {kind} namespace of container {ref}")


def _seen(code: int, pidfd: int) -> int:
    """The exit code; of a command that ended while no supervisor lived only its pidfd tells it."""
    if code != _UNKNOWN or pidfd < 0:
        return code
    with suppress(OSError):  # before Linux 6.15
        status = exit_status(pidfd)
        return code if status is None else exit_code(status)
    return code


def _id_maps(spec: ExecSpec, default: IdMaps | None) -> IdMaps | None:
    """The engine's ids, but for what cannot be done with them (and has been granted by who asked for it)."""
    return None if spec.privileged or spec.network == "host" else default


def _record(
    spec: ExecSpec, mounts: Sequence[MountRecord], devices: DeviceEdits, id_maps: IdMaps | None
) -> ContainerRecord:
    """The command as a container that nobody will ever see."""
    limits = spec.limits
    return ContainerRecord(
        id=spec.id,
        name=spec.id[:12],
        created_ns=0,
        image_id=Digest(""),
        config=ContainerConfig(
            user=spec.user,
            env=[*spec.env, *devices.env],
            cmd=list(spec.args),
            working_dir=spec.cwd,
            tty=spec.terminal,
            labels=dict(spec.labels),
        ),
        host_config=HostConfig(
            network_mode="bridge" if spec.network in ("", "default") else spec.network,
            extra_hosts=list(spec.extra_hosts),
            memory=limits.memory_bytes,
            memory_swap=limits.memory_swap_bytes,
            cpu_shares=limits.cpu_shares,
            cpu_period=limits.cpu_period_us,
            cpu_quota=limits.cpu_quota_us,
            cpuset_cpus=limits.cpuset_cpus,
            cpuset_mems=limits.cpuset_mems,
            cgroup_parent=limits.cgroup_parent,
            shm_size=limits.shm_size_bytes,
            ulimits=list(limits.ulimits),
            privileged=spec.privileged,
            readonly_rootfs=spec.readonly_root,
            devices=devices.nodes,
        ),
        mounts=[*mounts, *devices.mounts],
        id_maps=id_maps,
    )


async def _mount(mount: ExecMount, directory: str, agents: AgentSockets) -> MountRecord:
    if isinstance(mount, Tmpfs):
        data = ["exec"]  # commands unpack and build things there
        data += [f"size={mount.size_bytes}"] if mount.size_bytes else []
        return MountRecord(kind="tmpfs", destination=mount.target, data=data)
    if isinstance(mount, AgentSocket):
        source, read_only = await agents.listen(mount), False
    elif isinstance(mount, BindDirectory):
        source, read_only = mount.source, mount.readonly
    else:
        source, read_only = _secret_file(mount, directory), True
    return MountRecord(
        kind="bind", source=source, destination=mount.target, read_only=read_only, inner_ids=True
    )


def _secret_file(secret: SecretFile, directory: str) -> str:
    """The secret as a file in memory, for the time of the command."""
    path = os.path.join(directory, f"secret{len(os.listdir(directory))}")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, secret.content)
        os.fchown(fd, secret.uid, secret.gid)
        os.fchmod(fd, secret.mode)
    finally:
        os.close(fd)
    return path
