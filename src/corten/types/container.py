"""Containers: configuration, state, listing."""

from __future__ import annotations

import msgspec

from corten.types.document import Document, Empty, Int64, StrSlice, Uint16, always, always_map
from corten.types.image import Descriptor
from corten.types.network import Address, EndpointSettings


class Healthcheck(Document, kw_only=True):
    """How to probe a container. Durations in nanoseconds; 0 = inherit; Test ["NONE"] switches it off."""

    test: list[str] | None = None
    interval: Int64 = 0
    timeout: Int64 = 0
    start_period: Int64 = 0
    start_interval: Int64 = 0
    retries: Int64 = 0


class ContainerConfig(Document, kw_only=True):
    """What does not depend on the host (`Config`)."""

    hostname: str = always("")
    domainname: str = always("")
    user: str = always("")
    attach_stdin: bool = always(False)
    attach_stdout: bool = always(False)
    attach_stderr: bool = always(False)
    exposed_ports: dict[str, Empty | None] | None = None
    tty: bool = always(False)
    open_stdin: bool = always(False)
    stdin_once: bool = always(False)
    env: list[str] | None = always(None)
    cmd: StrSlice | None = always(None)
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    image: str = always("")
    volumes: dict[str, Empty | None] | None = always(None)
    working_dir: str = always("")
    entrypoint: StrSlice | None = always(None)
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] | None = always(None)
    labels: dict[str, str] | None = always(None)
    stop_signal: str = ""
    stop_timeout: Int64 | None = None
    shell: StrSlice | None = None


class LogConfig(Document, kw_only=True):
    """Log driver and its options; Type "" = the daemon's default."""

    type: str = always("")
    config: dict[str, str] | None = always(None)


class RestartPolicy(Document, kw_only=True):
    """Name: "", no, always, unless-stopped, on-failure (the only one with a retry count)."""

    name: str = always("")
    maximum_retry_count: Int64 = always(0)


class PortBinding(Document, kw_only=True):
    """An address of the host for a published port; HostPort may be "", "8080" or "8000-8010"."""

    host_ip: str = always("")
    host_port: str = always("")


class WeightDevice(Document, kw_only=True):
    """Relative block IO weight (10..1000) of one device."""

    path: str = always("")
    weight: Uint16 = always(0)


class ThrottleDevice(Document, kw_only=True):
    """Limit of one device, in bytes or operations per second."""

    path: str = always("")
    rate: Int64 = always(0)


class DeviceMapping(Document, kw_only=True):
    """A device of the host in the container; CgroupPermissions is a subset of "rwm"."""

    path_on_host: str = always("")
    path_in_container: str = always("")
    cgroup_permissions: str = always("")


class DeviceRequest(Document, kw_only=True):
    """Devices to be chosen by a driver (`--gpus`, CDI)."""

    driver: str = always("")
    count: Int64 = always(0)
    device_ids: list[str] | None = always(None, name="DeviceIDs")
    capabilities: list[list[str]] | None = always(None)
    options: dict[str, str] | None = always(None)


class Ulimit(Document, kw_only=True):
    """A resource limit of the processes; -1 = unlimited."""

    name: str = always("")
    hard: Int64 = always(0)
    soft: Int64 = always(0)


class BindOptions(Document, kw_only=True):
    """Options of a mount of type bind."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class VolumeDriverConfig(Document, kw_only=True):
    """Driver of a volume that is made by mounting it."""

    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(Document, kw_only=True):
    """Options of a mount of type volume."""

    no_copy: bool = False
    labels: dict[str, str] | None = None
    subpath: str = ""
    driver_config: VolumeDriverConfig | None = None


class ImageOptions(Document, kw_only=True):
    """Options of a mount of type image."""

    subpath: str = ""


class TmpfsOptions(Document, kw_only=True):
    """Options of a mount of type tmpfs. Mode is a number of permission bits."""

    size_bytes: Int64 = 0
    mode: Int64 = 0
    options: list[list[str]] | None = None


class Mount(Document, kw_only=True):
    """A mount asked for by `--mount`. Type: bind, volume, tmpfs, image, cluster, npipe."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    cluster_options: Empty | None = None


class HostConfig(Document, kw_only=True):
    """What depends on the host: limits, mounts, namespaces, ports.

    Memory sizes in bytes, CPU periods and quotas in microseconds, NanoCpus in 1e-9 CPUs;
    0 = no limit, MemorySwap -1 = unlimited swap. ConsoleSize is (rows, columns).
    """

    binds: list[str] | None = always(None)
    container_id_file: str = always("", name="ContainerIDFile")
    log_config: LogConfig = msgspec.field(default_factory=LogConfig)
    network_mode: str = always("")
    port_bindings: dict[str, list[PortBinding] | None] | None = always(None)
    restart_policy: RestartPolicy = msgspec.field(default_factory=RestartPolicy)
    auto_remove: bool = always(False)
    volume_driver: str = always("")
    volumes_from: list[str] | None = always(None)
    console_size: tuple[Int64, Int64] = always((0, 0))
    annotations: dict[str, str] | None = None
    cap_add: StrSlice | None = always(None)
    cap_drop: StrSlice | None = always(None)
    cgroupns_mode: str = always("")
    dns: list[str] | None = always(None)
    dns_options: list[str] | None = always(None)
    dns_search: list[str] | None = always(None)
    extra_hosts: list[str] | None = always(None)
    group_add: list[str] | None = always(None)
    ipc_mode: str = always("")
    cgroup: str = always("")
    links: list[str] | None = always(None)
    oom_score_adj: Int64 = always(0)
    pid_mode: str = always("")
    privileged: bool = always(False)
    publish_all_ports: bool = always(False)
    readonly_rootfs: bool = always(False)
    security_opt: list[str] | None = always(None)
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = always("", name="UTSMode")
    userns_mode: str = always("")
    shm_size: Int64 = always(0)
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    isolation: str = always("")
    # Resources
    cpu_shares: Int64 = always(0)
    memory: Int64 = always(0)
    nano_cpus: Int64 = always(0)
    cgroup_parent: str = always("")
    blkio_weight: Uint16 = always(0)
    blkio_weight_device: list[WeightDevice] | None = always(None)
    blkio_device_read_bps: list[ThrottleDevice] | None = always(None)
    blkio_device_write_bps: list[ThrottleDevice] | None = always(None)
    blkio_device_read_iops: list[ThrottleDevice] | None = always(None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] | None = always(None, name="BlkioDeviceWriteIOps")
    cpu_period: Int64 = always(0)
    cpu_quota: Int64 = always(0)
    cpu_realtime_period: Int64 = always(0)
    cpu_realtime_runtime: Int64 = always(0)
    cpuset_cpus: str = always("")
    cpuset_mems: str = always("")
    devices: list[DeviceMapping] | None = always(None)
    device_cgroup_rules: list[str] | None = always(None)
    device_requests: list[DeviceRequest] | None = always(None)
    kernel_memory: Int64 = 0
    kernel_memory_tcp: Int64 = msgspec.field(default=0, name="KernelMemoryTCP")
    memory_reservation: Int64 = always(0)
    memory_swap: Int64 = always(0)
    memory_swappiness: Int64 | None = always(None)
    oom_kill_disable: bool | None = always(None)
    pids_limit: Int64 | None = always(None)
    ulimits: list[Ulimit] | None = always(None)
    cpu_count: Int64 = always(0)
    cpu_percent: Int64 = always(0)
    io_maximum_iops: Int64 = always(0, name="IOMaximumIOps")
    io_maximum_bandwidth: Int64 = always(0, name="IOMaximumBandwidth")
    # after the resources, as dockerd writes them
    mounts: list[Mount] | None = None
    masked_paths: list[str] | None = always(None)
    readonly_paths: list[str] | None = always(None)
    init: bool | None = None


class NetworkingConfig(Document, kw_only=True):
    """Endpoints to be made with the container, by network name or id."""

    endpoints_config: dict[str, EndpointSettings | None] | None = always(None)


class CreateRequest(ContainerConfig, kw_only=True):
    """Body of POST /containers/create: the configuration with the two others inside."""

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None


class CreateResponse(Document, kw_only=True):
    """Answer of POST /containers/create."""

    id: str
    warnings: list[str]


class UpdateRequest(HostConfig, kw_only=True):
    """Body of POST /containers/{id}/update: of the host configuration only the resources and RestartPolicy
    count. The other two are not Docker's: ports to publish and no longer to publish, by `PORT/PROTO`; without
    a list, or with an empty address or host port, PublishRemove means whatever there is.
    """

    publish_add: dict[str, list[PortBinding] | None] | None = None
    publish_remove: dict[str, list[PortBinding] | None] | None = None


class UpdateResponse(Document, kw_only=True):
    """Answer of POST /containers/{id}/update."""

    warnings: list[str] | None


class TopResponse(Document, kw_only=True):
    """Answer of GET /containers/{id}/top: the columns' titles, and a row a process."""

    titles: list[str]
    processes: list[list[str]]


class HealthcheckResult(Document, kw_only=True):
    """One probe. Times RFC 3339 with nanoseconds; ExitCode 0 healthy, 1 unhealthy, 2 reserved."""

    start: str
    end: str
    exit_code: int
    output: str


class Health(Document, kw_only=True):
    """Status: none, starting, healthy, unhealthy."""

    status: str
    failing_streak: int
    log: list[HealthcheckResult] | None


class State(Document, kw_only=True):
    """Where the container is in its life. Zero time is 0001-01-01T00:00:00Z."""

    status: str
    running: bool
    paused: bool
    restarting: bool
    oom_killed: bool = msgspec.field(name="OOMKilled")
    dead: bool
    pid: int
    exit_code: int
    error: str
    started_at: str
    finished_at: str
    health: Health | None = None


class MountPoint(Document, kw_only=True):
    """A mount of an existing container."""

    type: str = ""
    name: str = ""
    source: str
    destination: str
    driver: str = ""
    mode: str
    rw: bool = msgspec.field(name="RW")
    propagation: str


class GraphDriver(Document, kw_only=True):
    """The storage driver's view: for overlay2 LowerDir, MergedDir, UpperDir, WorkDir."""

    data: dict[str, str] | None
    name: str


class NetworkSettings(Document, kw_only=True):
    """Networks of a container; the addresses at top level repeat those of the default bridge."""

    bridge: str = always("")
    sandbox_id: str = always("", name="SandboxID")
    sandbox_key: str = always("")
    ports: dict[str, list[PortBinding] | None] = always_map()
    hairpin_mode: bool = always(False)
    link_local_ipv6_address: str = always("", name="LinkLocalIPv6Address")
    link_local_ipv6_prefix_len: int = always(0, name="LinkLocalIPv6PrefixLen")
    secondary_ip_addresses: list[Address] | None = always(None, name="SecondaryIPAddresses")
    secondary_ipv6_addresses: list[Address] | None = always(None, name="SecondaryIPv6Addresses")
    endpoint_id: str = always("", name="EndpointID")
    gateway: str = always("")
    global_ipv6_address: str = always("", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = always(0, name="GlobalIPv6PrefixLen")
    ip_address: str = always("", name="IPAddress")
    ip_prefix_len: int = always(0, name="IPPrefixLen")
    ipv6_gateway: str = always("", name="IPv6Gateway")
    mac_address: str = always("")
    networks: dict[str, EndpointSettings] = always_map()


class ContainerInspect(Document, kw_only=True):
    """Answer of GET /containers/{id}/json. Name starts with "/"."""

    id: str
    created: str
    path: str
    args: list[str]
    state: State
    image: str
    resolv_conf_path: str
    hostname_path: str
    hosts_path: str
    log_path: str
    name: str
    restart_count: int
    driver: str
    platform: str
    mount_label: str
    process_label: str
    app_armor_profile: str
    exec_ids: list[str] | None = msgspec.field(name="ExecIDs")
    host_config: HostConfig
    graph_driver: GraphDriver
    size_rw: int | None = None
    size_root_fs: int | None = None
    image_manifest_descriptor: Descriptor | None = None
    mounts: list[MountPoint]
    config: ContainerConfig
    network_settings: NetworkSettings


class Port(Document, kw_only=True):
    """A port of a listed container; PublicPort 0 = not published. Type: tcp, udp, sctp."""

    ip: str = msgspec.field(default="", name="IP")
    private_port: int
    public_port: int = 0
    type: str


class SummaryHostConfig(Document, kw_only=True):
    """The part of HostConfig that the listing shows."""

    network_mode: str = ""
    annotations: dict[str, str] | None = None


class SummaryNetworkSettings(Document, kw_only=True):
    """The part of NetworkSettings that the listing shows."""

    networks: dict[str, EndpointSettings]


class ContainerSummary(Document, kw_only=True):
    """An item of GET /containers/json. Created in seconds; Status is the text of `docker ps`."""

    id: str
    names: list[str]
    image: str
    image_id: str = msgspec.field(name="ImageID")
    image_manifest_descriptor: Descriptor | None = None
    command: str
    created: int
    ports: list[Port]
    size_rw: int | None = None
    size_root_fs: int | None = None
    labels: dict[str, str]
    state: str
    status: str
    host_config: SummaryHostConfig
    network_settings: SummaryNetworkSettings
    mounts: list[MountPoint]


class WaitError(Document, kw_only=True):
    """Why waiting failed."""

    message: str


class WaitResponse(Document, kw_only=True):
    """Answer of POST /containers/{id}/wait."""

    error: WaitError | None = None
    status_code: int


class ContainersPruneReport(Document, kw_only=True):
    """Answer of POST /containers/prune; bytes."""

    containers_deleted: list[str] | None
    space_reclaimed: int


class CommitResponse(Document, kw_only=True):
    """The image that a commit has made."""

    id: str


class PathStat(msgspec.Struct, rename="camel"):
    """What a path inside a container names. mode: Go's os.FileMode. link_target: resolved, "" if no link."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str
