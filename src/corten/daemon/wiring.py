"""The only place where concrete classes meet: one engine, put together and taken apart again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence

from corten.api.application import EngineApi
from corten.api.authorization import Authorization
from corten.api.endpoints import Services
from corten.api.metrics import MetricsPage
from corten.api.server import Server
from corten.builder.builder import Builder
from corten.builder.cache import BuildCache
from corten.builder.store_images import StoreImages
from corten.buildkit.ondemand import BuildKitOnDemand
from corten.daemon.config import SHUTDOWN_TIMEOUT_S, DaemonConfig
from corten.daemon.instance import engine_id, kernel_names
from corten.daemon.settings import builder_config, host_facts, identity, settings
from corten.daemon.storage import layer_form, storage_options, watermarks
from corten.daemon.transfers import transfer_settings
from corten.engine.buildexecutor import RuntimeExecutor
from corten.engine.builds import BuildService
from corten.engine.cachevolumes import CacheVolumes
from corten.engine.containers.checkpoints import CheckpointService
from corten.engine.containers.commit import Committer
from corten.engine.containers.connections import Connections
from corten.engine.containers.context import Context
from corten.engine.containers.disklimits import DiskLimits
from corten.engine.containers.files import FileService
from corten.engine.containers.imagecache import CachedImages
from corten.engine.containers.service import ContainerService
from corten.engine.containers.store import ContainerStore
from corten.engine.distribution import DistributionService
from corten.engine.egress import EgressLog
from corten.engine.events import EventBus
from corten.engine.fsck import Fsck
from corten.engine.images import ImageService
from corten.engine.metrics import Gauges, Metrics
from corten.engine.networks import NetworkService
from corten.engine.sandbox_pool import BareSandboxes, PooledSandboxes, SparePool
from corten.engine.system import SystemService
from corten.engine.tasks import Background
from corten.engine.trash import Trash
from corten.engine.volume_transfer import VolumeTransfer
from corten.engine.volumes import VolumeService
from corten.engine.watermark import Watermark
from corten.errors import CortenError, InvalidParameter, Unavailable
from corten.images.policy import Admission
from corten.images.store import ImageStore
from corten.linux import cgroups
from corten.linux.netlink.sandbox import SandboxSpec
from corten.metadata import Ledger
from corten.network.config import NetworkConfig
from corten.network.controller import Controller
from corten.plugins.discovery import SOCKETS, PluginFolders
from corten.runtimes.supervisor import SupervisorRuntime, connect_or_start
from corten.snapshots.underlay import make_underlay
from corten.snapshots.workers import WorkerPool
from corten.volumes.plugin import VolumePlugins
from corten.volumes.store import VolumeStore

log = logging.getLogger(__name__)

_SPARES = 12  # sandboxes kept ready for user-defined networks, once the first has been used


class Engine:
    """Everything of one root. `open` makes it, `serve` listens, `close` ends it; containers stay."""

    def __init__(self, config: DaemonConfig, runtime: SupervisorRuntime) -> None:
        """Put the parts together; nothing outside of <root> is touched yet."""
        self.config = config
        storage = storage_options(config)
        self._marks = watermarks(storage)
        self.runtime = runtime
        self.background = Background()
        self.events = EventBus()
        self.ledger = Ledger(os.path.join(config.root, "meta.db"))
        self.trash = Trash(os.path.join(config.root, "tmp"), runtime, self.background)
        self.images = self._make_images(storage)
        self._link_prefix, self.controller = self._make_controller()
        plugins = PluginFolders(sockets=(SOCKETS, os.path.join(config.exec_root, "plugins")))
        self.authorization = Authorization(plugins)
        self.context = self._make_context(plugins)
        # Empty: workers mount on it in namespaces of their own.
        self._mountpoint = os.path.join(config.exec_root, "mnt")
        self.containers = ContainerService(self.context, directory=self._containers_directory)
        self.checkpoints = CheckpointService(self.context)
        self.files = FileService(self.context, self.images.workers, mountpoint=self._mountpoint)
        self.committer = Committer(
            self.context, self.images, self.containers.pauser, mountpoint=self._mountpoint
        )
        self._builder = self._make_builder()
        cache = BuildCache(self.ledger)
        self.builder = BuildService(
            self._builder, cache, self.images, self.images.collector.collect, self.events
        )
        self.volumes = self._make_volumes()
        self.system = SystemService(
            self.context,
            self.images,
            identity(config),
            login=self.images.login,
            cache=self.builder,
            volumes=self.volumes,
            fsck=Fsck(self.context, self.images, config.root),
        )
        self._buildkit = BuildKitOnDemand(
            self._builder,
            self.images,
            worker_id=self.system.identity.id,
            host_gateway=lambda: self.controller.host_gateway,
        )
        self._pools: list[SparePool] = []
        self._server: Server | None = None
        self._metrics_server: Server | None = None

    def _make_images(self, storage: dict[str, str]) -> ImageStore:
        return ImageStore(
            self.config.root,
            self.ledger,
            on_event=self._image_event,
            dispose=self.trash.dispose,
            workers=WorkerPool(preload=["corten.builder.jobs", "corten.snapshots.filejobs"]),
            transfers=transfer_settings(self.config),
            layer_form=layer_form(storage, self.config.root),
        )

    def _make_controller(self) -> tuple[str, Controller]:
        """With the beginning of all its links' names."""
        root = self.config.root
        bridge, table, prefix = kernel_names(root)
        network = NetworkConfig.from_document(
            {"bridge": bridge, **self.config.network},
            table=table,
            link_prefix=prefix,
            seed=engine_id(root),
        )
        return prefix, Controller(self.ledger, network)

    @property
    def _containers_directory(self) -> str:
        return os.path.join(self.config.root, "containers")

    def _make_context(self, plugins: PluginFolders) -> Context:
        config = self.config
        files = os.path.join(config.exec_root, "containers")
        store = ContainerStore(self.ledger, self._containers_directory, files)
        return Context(
            store=store,
            disk_limits=DiskLimits(store, self._containers_directory),
            runtime=self.runtime,
            cgroups=cgroups.manager(),
            images=CachedImages(self.images),
            network=self.controller,
            volumes=VolumeStore(
                os.path.join(config.root, "volumes"),
                self.ledger,
                self.trash,
                on_event=self._volume_event,
                owner=config.id_maps.root if config.id_maps else (0, 0),
            ),
            events=self.events,
            trash=self.trash,
            host=host_facts(config),
            settings=settings(config),
            admit=Admission(self.images, self.images.transfers.signatures).check,
            background=self.background,
            underlay=self.runtime.underlay,
            volume_plugins=VolumePlugins(plugins, config.root),
            plugins=plugins,
        )

    def _make_builder(self) -> Builder:
        steps = os.path.join(self.config.exec_root, "build-steps")
        return Builder(
            root=self.config.root,
            ledger=self.ledger,
            layers=self.images.layers,
            workers=self.images.workers,
            images=StoreImages(self.images),
            store=self.images,
            executor=RuntimeExecutor(self.context, steps),
            dispose=self.trash.dispose,
            config=builder_config(self.config),
            collect=self.images.collector.collect,
            open_volume=CacheVolumes(self.context).open,
        )

    def _make_volumes(self) -> VolumeService:
        transfer = VolumeTransfer(
            self.context,
            self.images.workers,
            self.containers.pauser,
            tmp=os.path.join(self.config.root, "tmp"),
        )
        return VolumeService(self.context.volumes, self.context.volume_manager, self.events, transfer)

    def _image_event(self, action: str, actor_id: str, attributes: dict[str, str]) -> None:
        self.events.publish("image", action, actor_id, attributes)

    def _volume_event(self, action: str, name: str, attributes: dict[str, str]) -> None:
        self.events.publish("volume", action, name, attributes)

    async def restore(self) -> None:
        """Bring ledger, disk and kernel together, then make what starts will need."""
        await self._authorize(self.config.texts("authorization-plugins"))
        self.images.restore()
        self.context.volumes.sweep()
        known = [task.task_id for task in await self.runtime.tasks()]
        await self.runtime.sweep_cgroups(f"/{self.context.host.cgroup_parent.strip('/')}", known)
        await self.containers.restore()
        self.checkpoints.restore()
        await self.context.resolver.restore()
        await self.context.relay.restore()
        self.runtime.on_reconnect(self._supervisor_replaced)
        self.runtime.on_janitor_lost(self.trash.start_over)
        try:
            spec = self.controller.sandbox_spec()
        except Unavailable as e:
            log.warning("no bridge network", extra={"reason": str(e)})
        else:
            pool = PooledSandboxes(self.runtime, spec, self._link_prefix)
            self.controller.members.pool = pool
            self._pools.append(pool)
        spare = SandboxSpec(0, 1500, resolver=True)
        spares = PooledSandboxes(self.runtime, spare, self._link_prefix, size=_SPARES, lazy=True)
        self.controller.members.spares = spares
        bare = BareSandboxes(self.runtime)
        self.controller.members.bare = bare.spare
        self._pools += [spares, bare]
        self.ledger.start_checkpoints()
        self.background.start(self.images.keep_settled(), "settle layers and blobs")
        if self._marks is not None:
            watermark = Watermark(self.images, self.builder.prune, self._marks)
            self.background.start(watermark.run(), "make room")
        if (events := self.controller.firewall_events) is not None:
            asyncio.get_running_loop().add_reader(events, self.controller.check_firewall)
        if (denials := self.controller.egress.events) is not None:
            asyncio.get_running_loop().add_reader(denials, EgressLog(self.context).read)
        for problem in self.controller.problems:
            log.warning("network", extra={"reason": problem})

    async def _authorize(self, names: Sequence[str]) -> None:
        """Put requests to these plugins. Raises InvalidParameter; then those of before are asked on."""
        await self.authorization.use(names)
        self.system.authorization_plugins = self.authorization.names

    async def _reauthorize(self, names: Sequence[str]) -> None:
        try:
            await self._authorize(names)
        except InvalidParameter as e:
            log.error("authorization plugins not changed", extra={"reason": str(e)})

    def _supervisor_replaced(self) -> None:
        self.background.start(self.containers.supervisor_replaced(), "adopt after supervisor's restart")

    def make_server(self) -> Server:
        """The API on these services; the caller lets it listen."""
        services = Services(
            containers=self.containers,
            monitor=self.containers.monitor,
            execs=self.containers.execs,
            files=self.files,
            checkpoints=self.checkpoints,
            committer=self.committer,
            images=ImageService(self.images, self.context.measures, mountpoint=self._mountpoint),
            distribution=DistributionService(self.images),
            networks=NetworkService(self.context, Connections(self.context)),
            volumes=self.volumes,
            system=self.system,
            builder=self.builder,
            buildkit=self._buildkit,
        )
        self._server = Server(EngineApi(services, authorization=self.authorization))
        return self._server

    def make_metrics_server(self) -> Server:
        """The page for Prometheus; the caller lets it listen."""
        assert self._server is not None
        api = self._server
        gauges: Gauges = {
            "api_connections": ("Connections to the API", lambda: len(api.connections)),
            "api_streams": ("Attached and other raw streams", lambda: len(api.streams)),
        }
        metrics = Metrics(self.context, self.images, self._builder.counts, self.system, gauges)
        self._metrics_server = Server(MetricsPage(metrics))
        return self._metrics_server

    def reload(self, config: DaemonConfig, changed: list[str]) -> None:
        """Take over reloadable settings."""
        self.config = config
        self.context.settings = settings(config)
        self.system.identity = identity(config)
        self.images.use(transfer_settings(config))
        self.context.admit = Admission(self.images, self.images.transfers.signatures).check
        if "authorization-plugins" in changed:
            wanted = config.texts("authorization-plugins")
            self.background.start(self._reauthorize(wanted), "change authorization plugins")
        self.events.publish("daemon", "reload", self.system.identity.id, {"changed": ",".join(changed)})

    async def close(self) -> None:
        """The orderly end. With live-restore (the default) containers go on without us."""
        if not self.config.flag("live-restore", default=True):
            seconds = self.config.number("shutdown-timeout", SHUTDOWN_TIMEOUT_S)
            await self.containers.stop_all(seconds)
        self.events.close()
        for server in (self._server, self._metrics_server):
            if server is not None:
                await server.close()
        await self._buildkit.settle()
        self.authorization.close()
        self.context.resolver.close()
        self.context.relay.close()
        for pool in self._pools:
            pool.close()
        await self.background.close()
        if (events := self.controller.firewall_events) is not None:
            asyncio.get_running_loop().remove_reader(events)
        if (denials := self.controller.egress.events) is not None:
            asyncio.get_running_loop().remove_reader(denials)
        self.controller.close()
        await self.runtime.close()
        await self.images.settle()
        self.images.close()
        self.ledger.close()


async def open_engine(config: DaemonConfig) -> Engine:
    """An engine with its supervisor, restored and ready to serve."""
    underlay = make_underlay(os.path.join(config.root, "underlay"))
    runtime = await connect_or_start(config.exec_root, underlay)
    try:
        engine = Engine(config, runtime)
        await engine.restore()
    except BaseException:
        with contextlib.suppress(CortenError):  # refused while containers run: then it must go on
            await runtime.shutdown()
        raise
    return engine
