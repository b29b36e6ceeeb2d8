"""The engine itself: version, info, disk usage, credentials."""

from __future__ import annotations

import msgspec

from corten.types.container import ContainerSummary
from corten.types.document import Document, always
from corten.types.image import ImageSummary
from corten.types.volume import Volume


class VersionPlatform(Document, kw_only=True):
    """Name of the product."""

    name: str


class Component(Document, kw_only=True):
    """A part of the engine with a version of its own."""

    name: str
    version: str
    details: dict[str, str] | None = None


class Version(Document, kw_only=True):
    """Answer of GET /version."""

    platform: VersionPlatform
    components: list[Component]
    version: str
    api_version: str
    min_api_version: str = msgspec.field(name="MinAPIVersion")
    git_commit: str
    go_version: str
    os: str
    arch: str
    kernel_version: str
    experimental: bool = False
    build_time: str = ""


class Plugins(Document, kw_only=True):
    """Names of the drivers by kind."""

    volume: list[str]
    network: list[str]
    authorization: list[str] | None = always(None)
    log: list[str]


class IndexInfo(Document, kw_only=True):
    """A registry."""

    name: str
    mirrors: list[str]
    secure: bool
    official: bool


class RegistryConfig(Document, kw_only=True):
    """How registries are reached."""

    insecure_registry_cidrs: list[str] = msgspec.field(name="InsecureRegistryCIDRs")
    index_configs: dict[str, IndexInfo]
    mirrors: list[str] | None


class RuntimeInfo(Document, kw_only=True, rename="camel"):
    """An OCI runtime."""

    path: str = ""
    runtime_args: list[str] | None = None
    status: dict[str, str] | None = None


class Commit(Document, kw_only=True):
    """Commit or version of a component."""

    id: str = always("", name="ID")
    expected: str = ""


class SwarmInfo(Document, kw_only=True):
    """State of the cluster as this node sees it; inactive outside of one."""

    node_id: str = always("", name="NodeID")
    node_addr: str = always("")
    local_node_state: str = always("inactive")
    control_available: bool = always(False)
    error: str = always("")
    remote_managers: list[dict[str, str]] | None = always(None)
    nodes: int = 0
    managers: int = 0


class AddressPool(Document, kw_only=True):
    """A range that subnets of the given prefix length are taken from."""

    base: str
    size: int


class FirewallInfo(Document, kw_only=True):
    """How packet filtering is programmed."""

    driver: str
    info: list[tuple[str, str]] | None = None


class Info(Document, kw_only=True):
    """Answer of GET /info. MemTotal in bytes."""

    id: str = msgspec.field(name="ID")
    containers: int
    containers_running: int
    containers_paused: int
    containers_stopped: int
    images: int
    driver: str
    driver_status: list[tuple[str, str]]
    plugins: Plugins
    memory_limit: bool
    swap_limit: bool
    cpu_cfs_period: bool
    cpu_cfs_quota: bool
    cpu_shares: bool = msgspec.field(name="CPUShares")
    cpu_set: bool = msgspec.field(name="CPUSet")
    pids_limit: bool
    ipv4_forwarding: bool = msgspec.field(name="IPv4Forwarding")
    debug: bool
    nfd: int = msgspec.field(name="NFd")
    oom_kill_disable: bool
    n_goroutines: int
    system_time: str
    logging_driver: str
    cgroup_driver: str
    cgroup_version: str
    n_events_listener: int
    kernel_version: str
    operating_system: str
    os_version: str = msgspec.field(name="OSVersion")
    os_type: str = msgspec.field(name="OSType")
    architecture: str
    index_server_address: str
    registry_config: RegistryConfig | None
    ncpu: int = msgspec.field(name="NCPU")
    mem_total: int
    generic_resources: list[dict[str, object]] | None = always(None)
    docker_root_dir: str
    http_proxy: str = always("")
    https_proxy: str = always("")
    no_proxy: str = always("")
    name: str
    labels: list[str]
    experimental_build: bool = always(False)
    server_version: str
    runtimes: dict[str, RuntimeInfo]
    default_runtime: str
    swarm: SwarmInfo
    live_restore_enabled: bool
    isolation: str = always("")
    init_binary: str
    containerd_commit: Commit
    runc_commit: Commit
    init_commit: Commit
    security_options: list[str]
    product_license: str = ""
    default_address_pools: list[AddressPool] | None = None
    firewall_backend: FirewallInfo | None = None
    cdi_spec_dirs: list[str] | None = always(None, name="CDISpecDirs")
    warnings: list[str] | None


class BuildCacheItem(Document, kw_only=True):
    """A record of the build cache; Size in bytes."""

    id: str = msgspec.field(name="ID")
    parents: list[str] | None = None
    type: str
    description: str
    in_use: bool
    shared: bool
    size: int
    created_at: str
    last_used_at: str | None
    usage_count: int


class BuildPruneReport(Document, kw_only=True):
    """Answer of POST /build/prune; bytes."""

    caches_deleted: list[str] | None
    space_reclaimed: int


class DiskUsage(Document, kw_only=True):
    """Answer of GET /system/df; None = that kind was not asked for. Bytes."""

    layers_size: int = always(0)
    images: list[ImageSummary] | None = always(None)
    containers: list[ContainerSummary] | None = always(None)
    volumes: list[Volume] | None = always(None)
    build_cache: list[BuildCacheItem] | None = always(None)


class FsckFinding(Document, kw_only=True):
    """One disagreement of ledger, disk and kernel."""

    kind: str
    subject: str
    problem: str
    repaired: bool


class FsckReport(Document, kw_only=True):
    """Answer of POST /system/fsck, which Docker has not."""

    findings: list[FsckFinding] = always(msgspec.field(default_factory=list))


class AuthConfig(Document, kw_only=True, rename="lower"):
    """Credentials for a registry, as the X-Registry-Auth header and POST /auth carry them."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    server_address: str = msgspec.field(default="", name="serveraddress")
    identity_token: str = msgspec.field(default="", name="identitytoken")
    registry_token: str = msgspec.field(default="", name="registrytoken")

    def __repr__(self) -> str:  # never into a log
        return f"AuthConfig(username={self.username!r}, server_address={self.server_address!r})"


class AuthResponse(Document, kw_only=True):
    """Answer of POST /auth."""

    status: str
    identity_token: str = ""
