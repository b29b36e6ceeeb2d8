"""The containers service: the API's Protocol, each operation handed to the module that knows it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from functools import partial
from time import perf_counter

from corten.engine.containers import attach, inspect, links, listing
from corten.engine.containers.container import STOP_TIMEOUT_S, Container
from corten.engine.containers.context import Context
from corten.engine.containers.create import Creator
from corten.engine.containers.execs import ExecService
from corten.engine.containers.exits import ExitHandler
from corten.engine.containers.healthmonitor import HealthMonitor
from corten.engine.containers.healthtests import OnFailure
from corten.engine.containers.monitor import Monitor
from corten.engine.containers.pause import Pauser
from corten.engine.containers.remove import Remover
from corten.engine.containers.restarts import Restarts
from corten.engine.containers.restore import Restorer
from corten.engine.containers.start import Starter
from corten.engine.containers.stop import Stopper
from corten.engine.containers.update import Updater
from corten.engine.containers.validate import validate_name
from corten.engine.prune import PruneFilter
from corten.errors import Conflict, CortenError, InvalidParameter, NotModified
from corten.filters import Filters
from corten.snapshots import uppers
from corten.snapshots.treebytes import tree_bytes
from corten.types.container import (
    ContainerInspect,
    ContainersPruneReport,
    ContainerSummary,
    CreateRequest,
    CreateResponse,
    UpdateRequest,
    UpdateResponse,
    WaitResponse,
)
from corten.types.operations import (
    Attachment,
    AttachOptions,
    ContainerListOptions,
    LogsOptions,
    LogStream,
    WaitCondition,
)

log = logging.getLogger(__name__)


class ContainerService:
    """Implements `corten.api.routes.containers.Containers`; what is not said here is said there."""

    def __init__(self, context: Context, *, directory: str) -> None:
        """directory: <root>/containers. Call `restore` before anything else."""
        self._context = context
        self.execs = ExecService(context)
        self._health = HealthMonitor(context, self.execs)
        self._restarts = Restarts(context)
        self._exits = ExitHandler(context, self._restarts, self._health)
        self._creator = Creator(context)
        self._starter = Starter(context, self._exits, self._health)
        self._pauser = Pauser(context, self._health)
        self._stopper = Stopper(context, self._pauser, self._restarts)
        self._remover = Remover(context, self._stopper)
        self._restorer = Restorer(context, self._exits, self._restarts, self._health, directory)
        self._updater = Updater(context)
        self.monitor = Monitor(context)
        self._restarts.start = partial(self._starter.start, by_policy=True)
        self.pauser = self._pauser
        self._exits.remove = self._remover.auto_remove
        self._exits.exec_exited = self.execs.on_exit
        self._exits.execs_ended = self.execs.container_ended
        self._health.actions = {
            OnFailure.KILL: self._stopper.strike_down,
            OnFailure.STOP: partial(self._stopper.stop, timeout_s=None, signal_name=""),
            OnFailure.RESTART: partial(self._restart, timeout_s=None, signal=""),
        }
        context.runtime.on_exit(self._exits.on_exit)
        context.runtime.on_oom(self._exits.on_oom)
        context.runtime.on_settled(self._restorer.on_settled)

    # -- the engine's own life ------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what an earlier engine left; see `restore.Restorer`."""
        await self._restorer.restore()
        for container in self._context.store.all():
            if container.state.thaw:
                await self._pauser.thaw(container)

    async def supervisor_replaced(self) -> None:
        """Another supervisor has taken over; see `restore.Restorer`."""
        await self._restorer.supervisor_replaced()

    async def stop_all(self, timeout_s: int) -> None:
        """Stop every container for the engine's orderly end; restart policies stay quiet."""
        self._restarts.shutting_down = True
        active = [container for container in self._context.store.all() if container.status.is_active()]
        async with asyncio.TaskGroup() as group:
            for container in active:
                group.create_task(self._stop_for_shutdown(container, timeout_s))

    async def _stop_for_shutdown(self, container: Container, timeout_s: int) -> None:
        patience = container.record.config.stop_timeout
        wanted = container.state.stopped_by_user
        try:
            await self._stopper.stop(
                container, timeout_s=timeout_s if patience is None else patience, signal_name=""
            )
        except NotModified:
            return
        except CortenError as e:
            log.warning("container not stopped", extra={"container": container.id, "reason": str(e)})
        # It was the engine that stopped it, not the user: unless-stopped starts it again next time.
        container.state.stopped_by_user = wanted
        self._context.store.save_state(container)

    # -- the API's Protocol -----------------------------------------------------------------------

    async def create(self, name: str, request: CreateRequest, platform: str) -> CreateResponse:
        """See Containers."""
        began = perf_counter()
        created = await self._creator.create(name, request, platform)
        self._context.measures.create.observe(perf_counter() - began)
        return created

    async def list(self, options: ContainerListOptions) -> Sequence[ContainerSummary]:
        """See Containers."""
        return await listing.list_containers(self._context, options)

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        """See Containers."""
        return await inspect.inspect_container(self._context, self._get(ref), size=size)

    async def start(self, ref: str, *, checkpoint: str = "", checkpoint_directory: str = "") -> None:
        """See Containers."""
        began = perf_counter()
        await self._starter.start(self._get(ref), checkpoint=(checkpoint, checkpoint_directory))
        self._context.measures.start.observe(perf_counter() - began)

    async def stop(self, ref: str, *, timeout_s: int | None, signal: str) -> str:
        """See Containers."""
        return await self._stopper.stop(self._get(ref), timeout_s=timeout_s, signal_name=signal)

    async def restart(self, ref: str, *, timeout_s: int | None, signal: str) -> None:
        """See Containers."""
        await self._restart(self._get(ref), timeout_s=timeout_s, signal=signal)

    async def _restart(self, container: Container, *, timeout_s: int | None, signal: str) -> None:
        patience = STOP_TIMEOUT_S if timeout_s is None else timeout_s
        container.restarting = True
        try:
            await self._stopper.stop(container, timeout_s=patience, signal_name=signal)
        except NotModified:
            pass
        finally:
            container.restarting = False
        if container.record.host_config.auto_remove:
            uppers.allow_remount(container.directory)
        await self._starter.start(container)
        self._context.publish(container, "restart")

    async def kill(self, ref: str, signal: str) -> None:
        """See Containers."""
        await self._stopper.kill(self._get(ref), signal)

    async def pause(self, ref: str) -> None:
        """See Containers."""
        await self._pauser.pause(self._get(ref))

    async def unpause(self, ref: str) -> None:
        """See Containers."""
        await self._pauser.unpause(self._get(ref))

    async def update(self, ref: str, request: UpdateRequest) -> UpdateResponse:
        """See Containers."""
        return await self._updater.update(self._get(ref), request)

    async def rename(self, ref: str, name: str) -> None:
        """See Containers."""
        container = self._get(ref)
        if not name:
            raise InvalidParameter("Neither old nor new names may be empty")
        old = container.name
        if name.removeprefix("/") == old:
            raise InvalidParameter("Renaming a container with the same name as its current name")
        name = self._free_name(name)
        self._context.store.rename(container, name)
        self._context.resolver.join(self._context.network.members.rename(container.id, name))
        self._context.publish(container, "rename", oldName=f"/{old}")

    def _free_name(self, name: str) -> str:
        bare = name.removeprefix("/")
        try:
            validate_name(f"/{bare}")
            self._context.store.check_name(bare)
        except InvalidParameter as e:
            raise InvalidParameter(f"Error when allocating new name: {e}") from e
        except Conflict as e:
            raise Conflict(f"Error when allocating new name: {e}") from e
        return bare

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        """See Containers."""
        container = self._get(ref)
        if not container.status.is_running() or container.starting:
            raise Conflict(f"container {container.id} is not running")
        await self._context.runtime.resize(container.id, rows, columns)
        self._context.publish(container, "resize", height=str(rows), width=str(columns))

    async def wait(self, ref: str, condition: WaitCondition) -> Awaitable[WaitResponse]:
        """See Containers."""
        container = self._get(ref)
        if condition is WaitCondition.NOT_RUNNING and not container.status.is_active():
            return _at_once(WaitResponse(status_code=container.state.exit_code))
        return container.waiters.add(condition)

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """See Containers."""
        if link:
            links.unlink(self._context, ref)
            return
        await self._remover.remove(self._get(ref), force=force, volumes=volumes)

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """See Containers."""
        return await attach.attach(self._context, self._get(ref), options)

    async def logs(self, ref: str, options: LogsOptions) -> LogStream:
        """See Containers."""
        return await attach.logs(self._get(ref), options)

    async def prune(self, filters: Filters) -> ContainersPruneReport:
        """See Containers."""
        wanted = PruneFilter(filters)
        deleted, reclaimed = [], 0
        for container in self._context.store.all():
            record = container.record
            if container.status.can_remove() and wanted.matches(
                record.created_ns, record.config.labels or {}
            ):
                size = await asyncio.to_thread(tree_bytes, f"{container.directory}/upper")
                try:
                    await self._remover.remove(container, force=False, volumes=False)
                except Conflict:
                    continue
                deleted.append(container.id)
                reclaimed += size
        self._context.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
        return ContainersPruneReport(containers_deleted=deleted or None, space_reclaimed=reclaimed)

    def _get(self, ref: str) -> Container:
        return self._context.store.get(ref)


def _at_once(answer: WaitResponse) -> Awaitable[WaitResponse]:
    future: asyncio.Future[WaitResponse] = asyncio.get_running_loop().create_future()
    future.set_result(answer)
    return future
