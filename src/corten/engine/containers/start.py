"""Starting a container: the intention into the ledger, the network, the files, the task."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Sequence

from corten.engine.containers import checkpoints, links
from corten.engine.containers.attach import connect_early_stdin
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.devicerequests import with_requested_devices
from corten.engine.containers.exits import ExitHandler
from corten.engine.containers.healthmonitor import HealthMonitor
from corten.engine.containers.hostfiles import HostFiles, JoinedFiles
from corten.engine.containers.identity import IdentityCache
from corten.engine.containers.links import Link
from corten.engine.containers.logconfig import log_target
from corten.engine.containers.logserver import reach
from corten.engine.containers.namespaces import container_mode, shared_containers
from corten.engine.containers.networking import (
    Attached,
    allocate,
    attached,
    helpers_ready,
    owned_sandbox,
    plugged_places,
    running_peer,
)
from corten.engine.containers.ociruntimes import with_hooks, with_seccomp
from corten.engine.containers.sharedmemory import shm_source
from corten.engine.containers.spec import StartFacts, build_spec, cgroup_path, container_hostname
from corten.engine.containers.state import Status
from corten.engine.containers.volumes import announce_mounts, prepare_mounts, release_mounts
from corten.errors import Conflict, CortenError, InternalError, InvalidParameter, NotModified, NotSupported
from corten.network.values import Endpoint
from corten.oci import runtime_spec as oci
from corten.runtimes.protocol import Overlay, Restore, StartFailed, TaskRequest

log = logging.getLogger(__name__)

# What the docker CLI looks for in the message to choose its exit code, and the code we record ourselves.
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_FAILED = 128
_ERRNO_CODES = {
    errno.ENOENT: _NOT_FOUND,
    errno.EACCES: _NOT_EXECUTABLE,
    errno.EPERM: _NOT_EXECUTABLE,
    errno.ENOEXEC: _NOT_EXECUTABLE,
    errno.EISDIR: _NOT_EXECUTABLE,
    errno.ENOTDIR: _NOT_EXECUTABLE,
    errno.ELOOP: _NOT_EXECUTABLE,
}


class Starter:
    """`start`, also for restart policies and after an engine restart."""

    def __init__(self, context: Context, exits: ExitHandler, health: HealthMonitor) -> None:
        self._context = context
        self._exits = exits
        self._health = health
        self._files = HostFiles(context.network.config)
        self._identities = IdentityCache()

    async def start(
        self, container: Container, *, by_policy: bool = False, checkpoint: tuple[str, str] = ("", "")
    ) -> None:
        """Start it. Raises NotModified if it runs, and what forbids or fails it.

        by_policy: a restart policy wants it, which goes on counting. checkpoint: name and directory, to
        be brought back from; ("", "") = anew.
        """
        async with container.lock:
            if container.status is Status.PAUSED:
                raise Conflict("cannot start a paused container, try unpause instead")
            if container.status.is_running():
                raise NotModified(f"container {container.id} is already running")
            if not container.status.can_start():
                raise Conflict("container is marked for removal and cannot be started")
            if not by_policy:
                container.state.restart_count, container.state.backoff_s = 0, 0.0
            restore = checkpoints.load(container, *checkpoint) if checkpoint[0] else None
            await self._start(container, restore)

    async def _start(self, container: Container, restore: Restore | None) -> None:
        context, state = self._context, container.state
        before, started_ns = container.status, state.started_ns
        container.cancel_restart()
        container.status = Status.RUNNING
        state.stopped_by_user = False
        state.error = ""
        state.started_ns = time.time_ns()
        container.starting, container.early_exit, container.oom_seen = True, None, False
        if container.ended.is_set():
            container.ended = asyncio.Event()
        try:
            sandbox = None
            if container.record.id_maps is not None:
                self._check_peers(container)
                sandbox = await owned_sandbox(context, container)
            if context.relay.unsettled:
                await context.relay.settled()
            prepared = None
            if context.network.uses_plugins:
                prepared, sandbox = await plugged_places(context, container, sandbox)
            with context.store.transaction():
                context.store.save_state(container)
                endpoints = allocate(context, container, sandbox, prepared)
            container.pid = await self._run(container, endpoints, restore)
        except BaseException as e:
            container.starting = False
            state.started_ns = started_ns
            self._failed(container, e, before)
            raise
        state.oom_killed = False
        state.exit_code = 0
        for endpoint in endpoints or ():
            context.publish_network("connect", endpoint)
        links.refresh_users(context, container)
        if container.record.mounts:
            announce_mounts(context, container)
        context.publish(container, "start")
        if container.early_stdin:
            await connect_early_stdin(context, container)
        container.starting = False
        if container.record.config.healthcheck is not None:
            self._health.begin(container)
        self._exits.handle_early(container)

    async def _run(
        self, container: Container, endpoints: Sequence[Endpoint] | None, restore: Restore | None
    ) -> int:
        context = self._context
        record, hooks = with_requested_devices(container.record, context.settings.cdi_directories)
        host_config = record.host_config
        await helpers_ready(context, container, endpoints)
        upper = f"{container.directory}/upper"
        sharing = map(context.store.get, shared_containers(host_config))
        peers = {peer.id: peer.pid for peer in sharing}
        with attached(context, container, endpoints, restored=restore is not None) as network:
            lower = context.images.lower_dirs(context.images.get(record.image_id))
            if record.mounts:
                await prepare_mounts(context, container, lower)
            identity = self._identities.resolve(
                record.image_id, upper, lower, record.config.user, host_config.group_add or ()
            )
            hostname = self._hostname(container)
            found = links.linked(context, container) if record.links else []
            facts = StartFacts(
                identity=identity,
                hostname=hostname,
                files=self._host_files(container, hostname, network, found),
                linked_env=links.environment(container, found),
                namespace_path=self._namespace_path,
                shm_source=shm_source(context, container),
            )
            spec, seccomp = build_spec(record, context.host, facts)
            runtime = context.settings.runtimes.get(host_config.runtime)
            if hooks:
                spec, runtime = with_hooks(spec, hooks), runtime or context.settings.runtimes.for_hooks()
            if runtime is not None and record.id_maps is not None:
                raise NotSupported("user namespaces need Corten's own runtime")
            if runtime is not None and restore is not None:
                raise NotSupported("checkpoints need Corten's own runtime")
            if runtime is not None:
                spec = with_seccomp(spec, host_config, context.host)
            log_writing = log_target(container)
            if log_writing.remote:
                await asyncio.to_thread(reach, log_writing.remote)
            rows, columns = host_config.console_size
            request = TaskRequest(
                id=record.id,
                spec=spec,
                overlay=Overlay(
                    lower=lower,
                    upper=upper,
                    work=f"{container.directory}/work",
                    volatile=host_config.auto_remove,
                ),
                log=log_writing,
                terminal=record.config.tty,
                console_size=(rows, columns) if rows and columns else None,
                open_stdin=record.config.open_stdin,
                stdin_once=record.config.stdin_once,
                seccomp=seccomp,
                runtime=runtime,
                netns_fd=network.netns_fd,
                peers=peers,
                init=context.settings.init if host_config.init is None else host_config.init,
                restore=restore,
            )
            try:
                pid = await context.runtime.start(request)
                container.has_task = True
                container.cgroup = cgroup_path(record, context.host)
                return pid
            except StartFailed as e:
                raise start_error(e) from e

    def _host_files(
        self, container: Container, hostname: str, network: Attached, found: Sequence[Link]
    ) -> list[oci.Mount]:
        if ref := container_mode(container.record.host_config.network_mode):
            return JoinedFiles(self._context.store.get(ref)).mounts()
        return self._files.write(
            container,
            hostname=hostname,
            addresses=network.addresses,
            host_gateway=self._context.network.host_gateway,
            links=[link.hosts_line() for link in found if link.address],
            resolver=network.resolver,
        )

    def _hostname(self, container: Container) -> str:
        """Who shares a network shares its host name, too."""
        if ref := container_mode(container.record.host_config.network_mode):
            container = self._context.store.get(ref)
        record = container.record
        return container_hostname(record.id, record.config, record.host_config, os.uname().nodename)

    def _check_peers(self, container: Container) -> None:
        """Raise Conflict if one whose namespaces are joined has other ids, as one made anew may have."""
        record, store = container.record, self._context.store
        if any(
            store.get(ref).record.id_maps != record.id_maps for ref in shared_containers(record.host_config)
        ):
            raise Conflict("cannot join the namespaces of a container that has another user namespace")

    def _namespace_path(self, ref: str, kind: str) -> str:
        return f"/proc/{running_peer(self._context, ref, kind).pid}/ns/{kind}"

    def _failed(self, container: Container, error: BaseException, before: Status) -> None:
        """Record a start that did not come about; `--rm` containers go."""
        state = container.state
        container.pid = 0
        container.status = Status.EXITED if before is Status.RESTARTING else before
        if isinstance(error, StartRefused):
            state.exit_code = error.exit_code
        else:
            state.exit_code = _FAILED
        state.error = str(error) if isinstance(error, CortenError) else "start was interrupted"
        release_mounts(self._context, container, announce=False)
        container.ended.set()
        while container.early_stdin:
            container.early_stdin.pop().close()
        self._context.store.save_state(container)
        if not isinstance(error, CortenError):
            log.warning("start interrupted", extra={"container": container.id}, exc_info=error)
        if container.record.host_config.auto_remove:
            self._exits.remove_later(container)


class StartRefused(InvalidParameter):
    """The command could not be executed; the text is one that docker's CLI knows, with its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def start_message(error: StartFailed) -> str:
    """A runtime's failure in the words that Docker's clients parse."""
    return (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        f"corten create failed: unable to start container process: error during container init: {error}"
    )


def start_error(error: StartFailed) -> CortenError:
    """A runtime's failure as an error of ours."""
    message = start_message(error)
    if error.stage == "exec":
        return StartRefused(message, _ERRNO_CODES.get(error.errno, _NOT_EXECUTABLE))
    return InternalError(message)
