"""What the operations on containers share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from corten.digest import Digest
from corten.engine.cdi import DIRECTORIES as CDI_DIRECTORIES
from corten.engine.containers.container import Container
from corten.engine.containers.disklimits import DiskLimits
from corten.engine.containers.ociruntimes import OciRuntimes
from corten.engine.containers.spec import HostFacts
from corten.engine.containers.store import ContainerStore
from corten.engine.events import EventBus
from corten.engine.measures import Measures
from corten.engine.network_plugins import NetworkPlugins
from corten.engine.relay import PortRelay
from corten.engine.resolver import Resolver
from corten.engine.tasks import Background
from corten.engine.volume_manager import VolumeManager
from corten.images.image import Image
from corten.network.controller import Controller
from corten.network.values import Endpoint
from corten.platforms import Platform
from corten.plugins.discovery import PluginFolders
from corten.runtimes.protocol import Exit, Runtime
from corten.types.container import LogConfig
from corten.volumes.plugin import VolumePlugins
from corten.volumes.store import Trash, VolumeStore

if TYPE_CHECKING:
    from corten.linux.cgroups.protocol import CgroupManager

log = logging.getLogger(__name__)


class ImageSource(Protocol):
    """The images, as containers need them. Quick calls."""

    def resolve(self, text: str) -> Image:
        """By name, id or prefix. Raises NoSuchImage."""

    def variant(self, text: str, platform: Platform) -> Image:
        """As `resolve`, the one for a platform. Raises NotFound."""

    def find(self, text: str) -> Image | None:
        """As `resolve`, or None."""

    def get(self, image_id: Digest) -> Image:
        """By full id, also if its last name is gone. Raises NoSuchImage."""

    def lower_dirs(self, image: Image) -> list[str]:
        """Its layers for overlayfs, uppermost first."""


@dataclass(slots=True, kw_only=True)
class Settings:
    """What daemon.json says about containers; replaced as a whole by a reload."""

    log_driver: str = "json-file"
    log_options: Mapping[str, str] = field(default_factory=dict)
    runtimes: OciRuntimes = field(default_factory=OciRuntimes)
    shm_size_bytes: int = 0
    init: bool = False
    cdi_directories: Sequence[str] = CDI_DIRECTORIES

    def log_config(self, given: LogConfig) -> LogConfig:
        """The container's log configuration with the daemon's defaults."""
        if given.type and given.type != self.log_driver:
            return given
        return LogConfig(type=self.log_driver, config={**self.log_options, **(given.config or {})})


@dataclass(slots=True, kw_only=True, eq=False)
class Context:
    """The parts and the few things done everywhere. All of it belongs to the event loop's thread."""

    store: ContainerStore
    runtime: Runtime
    cgroups: CgroupManager
    images: ImageSource
    network: Controller
    volumes: VolumeStore
    events: EventBus
    trash: Trash
    host: HostFacts
    settings: Settings
    disk_limits: DiskLimits
    background: Background
    volume_plugins: VolumePlugins
    plugins: PluginFolders
    admit: Callable[[str, Image], None] = lambda text, image: None
    """Refuses images that may not be run; called with what was asked for."""
    underlay: str = ""  # what the runtime lays below a container's layers (corten.snapshots.underlay)
    measures: Measures = field(default_factory=Measures)
    volume_manager: VolumeManager = field(init=False)
    resolver: Resolver = field(init=False)
    relay: PortRelay = field(init=False)
    network_plugins: NetworkPlugins = field(init=False)
    transient: dict[str, Callable[[Exit], object]] = field(default_factory=dict)
    """Who is told of the exit of a task that is no container (a build's command), by task id."""

    def __post_init__(self) -> None:
        self.volume_manager = VolumeManager(self.volumes, self.background, self.volume_plugins)
        self.network_plugins = NetworkPlugins(self.plugins, self.network, self.background)
        self.resolver = Resolver(self.runtime, self.network, self.store, self.background)
        self.relay = PortRelay(self.runtime, self.network, self.background)

    def publish_network(self, action: str, endpoint: Endpoint, **extra: str) -> None:
        """connect, disconnect, egress-denied: an event of a network."""
        driver = self.network.get_network(endpoint.network_id).driver
        attributes = {"container": endpoint.container_id, "name": endpoint.network_name, "type": driver}
        self.events.publish("network", action, endpoint.network_id, {**attributes, **extra})

    def release_network(self, container_id: str) -> None:
        """The container leaves its networks; harmless if it has left them."""
        endpoints = self.network.members.of(container_id)
        self.resolver.drop(container_id, endpoints)
        if not endpoints:
            return
        self.network.members.release(container_id)
        self.relay.sync(container_id)
        for endpoint in endpoints:
            self.publish_network("disconnect", endpoint)

    def publish(self, container: Container, action: str, **extra: str) -> None:
        """An event of a container."""
        self.events.publish("container", action, container.id, {**container.event_attributes(), **extra})
