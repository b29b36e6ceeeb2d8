"""The engine as a whole: ping, version, info, events, disk usage, credentials."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import corten
from corten.engine.containers.context import Context
from corten.engine.containers.listing import list_containers
from corten.engine.containers.logconfig import DRIVERS as LOG_DRIVERS
from corten.engine.containers.security import BUILTIN
from corten.engine.containers.state import Status
from corten.engine.fsck import Fsck
from corten.engine.host import HostSupport, cpu_model_count, memory_bytes, operating_system
from corten.images import documents
from corten.images.store import ImageStore
from corten.platforms import host_platform
from corten.types.container import ContainerSummary
from corten.types.events import Message
from corten.types.image import ImageSummary
from corten.types.operations import ContainerListOptions, EventsOptions, Ping
from corten.types.system import (
    AuthConfig,
    AuthResponse,
    BuildCacheItem,
    Commit,
    Component,
    DiskUsage,
    FsckReport,
    IndexInfo,
    Info,
    Plugins,
    RegistryConfig,
    RuntimeInfo,
    SwarmInfo,
    Version,
    VersionPlatform,
)
from corten.types.volume import Volume
from corten.units import format_time

API_VERSION = "1.51"
MIN_API_VERSION = "1.24"
INDEX = "https://index.docker.io/v1/"
_OTHER_SECCOMP = "WARNING: daemon is not using the default seccomp profile"


class CacheUsage(Protocol):
    """The builder's part of `df`."""

    async def usage(self) -> Sequence[BuildCacheItem]:
        """The records of the build cache."""


class VolumeUsages(Protocol):
    """The volumes' part of `df`."""

    async def usage(self) -> Sequence[Volume]:
        """All volumes with their sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What this engine is; the same as long as its root exists."""

    id: str
    root: str
    name: str = field(default_factory=lambda: os.uname().nodename)
    labels: Sequence[str] = ()
    debug: bool = False
    live_restore: bool = True
    experimental: bool = False
    seccomp_profile: str = BUILTIN
    insecure_registries: Sequence[str] = ()
    registry_mirrors: Sequence[str] = ()
    proxies: Mapping[str, str] = field(default_factory=dict)


class SystemService:
    """Implements `corten.api.routes.system.System`; what is not said here is said there."""

    def __init__(
        self,
        context: Context,
        catalogue: ImageStore,
        identity: Identity,
        *,
        login: Callable[[AuthConfig], Awaitable[AuthResponse]],
        cache: CacheUsage,
        volumes: VolumeUsages,
        fsck: Fsck,
    ) -> None:
        self.identity = identity
        self.authorization_plugins: Sequence[str] = ()
        self._context = context
        self._catalogue = catalogue
        self._login = login
        self._cache = cache
        self._volumes = volumes
        self._fsck = fsck
        self._ping = Ping(experimental=identity.experimental)
        self._support = HostSupport()

    def ping(self) -> Ping:
        """See System."""
        return self._ping

    def version(self) -> Version:
        """See System."""
        return _version(self.identity.experimental)

    async def info(self) -> Info:
        """See System."""
        context, identity, support = self._context, self.identity, self._support
        containers = context.store.all()
        running = sum(each.status in (Status.RUNNING, Status.RESTARTING) for each in containers)
        paused = sum(each.status is Status.PAUSED for each in containers)
        uname = os.uname()
        runtimes = context.settings.runtimes
        return Info(
            id=identity.id,
            containers=len(containers),
            containers_running=running,
            containers_paused=paused,
            containers_stopped=len(containers) - running - paused,
            images=len(self._catalogue.all()),
            driver="overlay2",
            driver_status=[("Backing Filesystem", support.file_system(identity.root))],
            plugins=Plugins(
                volume=[driver.name for driver in context.volumes.drivers()],
                network=["bridge", "host", "ipvlan", "macvlan", "null", "overlay"],
                authorization=list(self.authorization_plugins) or None,
                log=list(LOG_DRIVERS),
            ),
            memory_limit=support.has("memory"),
            swap_limit=support.swap_limit,
            cpu_cfs_period=support.has("cpu"),
            cpu_cfs_quota=support.has("cpu"),
            cpu_shares=support.has("cpu"),
            cpu_set=support.has("cpuset"),
            pids_limit=support.has("pids"),
            ipv4_forwarding=support.ip_forward(),
            debug=identity.debug,
            nfd=len(os.listdir("/proc/self/fd")),
            oom_kill_disable=support.has("memory") and support.cgroup_version == "1",
            n_goroutines=len(asyncio.all_tasks()),
            system_time=format_time(time.time_ns()),
            logging_driver=context.settings.log_driver,
            cgroup_driver="cgroupfs",
            cgroup_version=support.cgroup_version,
            n_events_listener=context.events.listeners,
            kernel_version=uname.release,
            operating_system=operating_system()[0],
            os_version=operating_system()[1],
            os_type="linux",
            architecture=uname.machine,
            index_server_address=INDEX,
            registry_config=self._registries(),
            ncpu=cpu_model_count(),
            mem_total=memory_bytes(),
            docker_root_dir=identity.root,
            http_proxy=identity.proxies.get("http", ""),
            https_proxy=identity.proxies.get("https", ""),
            no_proxy=identity.proxies.get("no", ""),
            name=identity.name,
            labels=list(identity.labels),
            server_version=corten.__version__,
            runtimes={name: RuntimeInfo(path=path) for name, path in runtimes.paths().items()},
            default_runtime=runtimes.default,
            swarm=SwarmInfo(),
            live_restore_enabled=identity.live_restore,
            experimental_build=identity.experimental,
            init_binary="corten-init",
            containerd_commit=Commit(),
            runc_commit=Commit(),
            cdi_spec_dirs=list(context.settings.cdi_directories),
            init_commit=Commit(),
            security_options=[
                *(["name=apparmor"] if self._context.host.apparmor else ()),
                f"name=seccomp,profile={identity.seccomp_profile}",
                *(["name=userns"] if self._context.host.id_maps else ()),
                "name=cgroupns",
            ],
            warnings=[
                *support.warnings(),
                *context.network.problems,
                *([_OTHER_SECCOMP] if identity.seccomp_profile != BUILTIN else ()),
            ]
            or None,
        )

    def _registries(self) -> RegistryConfig:
        official = IndexInfo(
            name="docker.io", mirrors=list(self.identity.registry_mirrors), secure=True, official=True
        )
        indexes = {"docker.io": official}
        for name in self.identity.insecure_registries:
            if "/" not in name:
                indexes[name] = IndexInfo(name=name, mirrors=[], secure=False, official=False)
        networks = ["::1/128", "127.0.0.0/8", *(n for n in self.identity.insecure_registries if "/" in n)]
        return RegistryConfig(
            insecure_registry_cidrs=networks,
            index_configs=indexes,
            mirrors=list(self.identity.registry_mirrors) or None,
        )

    async def events(self, options: EventsOptions) -> AsyncIterator[Message]:
        """See System."""
        return await self._context.events.subscribe(options)

    async def disk_usage(self, kinds: frozenset[str]) -> DiskUsage:
        """See System."""
        usage = DiskUsage()
        if "image" in kinds:
            usage.images = self._images()
            disk = self._catalogue.collector.disk
            await disk.refresh()
            usage.layers_size = disk.total()
        if "container" in kinds:
            usage.containers = await self._containers()
        if "volume" in kinds:
            usage.volumes = list(await self._volumes.usage())
        if "build-cache" in kinds:
            usage.build_cache = list(await self._cache.usage())
        return usage

    async def fsck(self, *, repair: bool, contents: bool) -> FsckReport:
        """See System."""
        return await self._fsck.run(repair=repair, contents=contents)

    def _images(self) -> list[ImageSummary]:
        return documents.summaries(self._catalogue, shared_size=True, count_containers=True)

    async def _containers(self) -> list[ContainerSummary]:
        return await list_containers(self._context, ContainerListOptions(all=True, size=True))

    async def auth(self, auth: AuthConfig) -> AuthResponse:
        """See System."""
        return await self._login(auth)


@cache
def _version(experimental: bool) -> Version:
    uname = os.uname()
    arch = host_platform().architecture
    details = {
        "ApiVersion": API_VERSION,
        "Arch": arch,
        "KernelVersion": uname.release,
        "MinAPIVersion": MIN_API_VERSION,
        "Os": "linux",
        "BuildTime": "",
        "Experimental": str(experimental).lower(),
        "GitCommit": "",
        "GoVersion": f"python{platform.python_version()}",
    }
    return Version(
        platform=VersionPlatform(name="Corten"),
        components=[Component(name="Engine", version=corten.__version__, details=details)],
        version=corten.__version__,
        api_version=API_VERSION,
        min_api_version=MIN_API_VERSION,
        git_commit="",
        go_version=f"python{platform.python_version()}",
        os="linux",
        arch=arch,
        kernel_version=uname.release,
    )
