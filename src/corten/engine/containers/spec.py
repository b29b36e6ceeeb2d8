"""A container's record and what was found out for this start → config.json and the seccomp program.

Everything that does not depend on the container was built when the modules were loaded; what is left for
a plain container is one encoding of shared structures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from corten.engine.containers.apparmor import profile_of
from corten.engine.containers.mounts import Owners, build_mounts
from corten.engine.containers.namespaces import build_namespaces, user_namespace
from corten.engine.containers.process import build_process
from corten.engine.containers.record import ContainerRecord
from corten.engine.containers.resources import all_host_devices, build_resources, host_devices
from corten.engine.containers.security import (
    BUILTIN,
    READONLY_PATHS,
    SeccompCompiler,
    SecurityOptions,
    effective_capabilities,
    masked_paths,
    oci_capabilities,
    parse_security_opt,
    seccomp_profile,
    seccomp_program,
)
from corten.engine.containers.userns import IdMaps, composed
from corten.engine.containers.users import Identity
from corten.oci import runtime_spec as oci
from corten.types.container import ContainerConfig, HostConfig, Ulimit

CGROUP_PARENT = "/corten"

# Without these two sysctls an ordinary user could not ping or serve port 80 in a namespace of his own.
_NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What is the same for all containers of this engine."""

    capabilities: Sequence[str]
    seccomp: SeccompCompiler
    default_ulimits: Mapping[str, Ulimit] = field(default_factory=dict)
    cgroup_parent: str = CGROUP_PARENT
    no_new_privileges: bool = False
    seccomp_profile: str = BUILTIN  # or UNCONFINED, or a profile's JSON
    apparmor: str = ""  # default profile; "" = there is no AppArmor here
    id_maps: IdMaps | None = None  # userns-remap


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFacts:
    """What was found out for one start.

    files: binds of /etc/hosts, /etc/hostname, /etc/resolv.conf. namespace_path(container, kind): where
    "container:X" modes find the namespace. shm_source: see `mounts.build_mounts`. linked_env: of `--link`.
    """

    identity: Identity
    hostname: str
    files: Sequence[oci.Mount]
    namespace_path: Callable[[str, str], str]
    shm_source: str = ""
    linked_env: Sequence[str] = ()


def container_hostname(container_id: str, config: ContainerConfig, host_config: HostConfig, host: str) -> str:
    """The UTS name: given, the host's with --uts=host or --network=host, else the short id."""
    if config.hostname:
        return config.hostname
    if host_config.uts_mode == "host" or host_config.network_mode == "host":
        return host
    return container_id[:12]


def cgroup_path(record: ContainerRecord, host: HostFacts) -> str:
    """Where the container's cgroup will be when it is started now."""
    parent = record.host_config.cgroup_parent or host.cgroup_parent
    return f"/{parent.strip('/')}/{record.id}"


def apparmor_profile(host_config: HostConfig, host: HostFacts) -> str:
    """What confines the container; "" without AppArmor."""
    return profile_of(parse_security_opt(host_config.security_opt), host_config, host.apparmor)


def build_spec(record: ContainerRecord, host: HostFacts, facts: StartFacts) -> tuple[bytes, bytes | None]:
    """(config.json, seccomp program or None). Raises InvalidParameter for what is wrong with the request."""
    config, host_config = record.config, record.host_config
    security = parse_security_opt(host_config.security_opt, no_new_privileges=host.no_new_privileges)
    names = effective_capabilities(host_config, host.capabilities)
    process = build_process(
        config,
        host_config,
        identity=facts.identity,
        hostname=facts.hostname,
        capabilities=oci_capabilities(names, root=facts.identity.uid == 0),
        no_new_privileges=security.no_new_privileges,
        default_ulimits=host.default_ulimits,
        linked_env=facts.linked_env,
        apparmor_profile=profile_of(security, host_config, host.apparmor),
    )
    own_uts = host_config.uts_mode != "host"
    spec = oci.Spec(
        oci_version=oci.VERSION,
        process=process,
        root=oci.Root(path="rootfs", readonly=host_config.readonly_rootfs),
        hostname=facts.hostname if own_uts else "",
        domainname=config.domainname if own_uts else "",
        mounts=build_mounts(
            host_config,
            record.mounts,
            files=facts.files,
            owners=owners(record.id_maps, host.id_maps, (facts.identity.uid, facts.identity.gid)),
            shm_source=facts.shm_source,
        ),
        linux=_build_linux(record, host, facts),
        annotations=host_config.annotations or {},
    )
    profile = seccomp_profile(security, host_config, host.seccomp_profile)
    return oci.encode(spec), seccomp_program(profile, frozenset(names), host.seccomp)


def _build_linux(record: ContainerRecord, host: HostFacts, facts: StartFacts) -> oci.Linux:
    host_config = record.host_config
    devices = host_devices(host_config.devices or ())
    if host_config.privileged:
        nodes, masked, readonly = all_host_devices(), [], []
    else:
        nodes = [node for node, _ in devices]
        masked = masked_paths() if host_config.masked_paths is None else host_config.masked_paths
        readonly = READONLY_PATHS if host_config.readonly_paths is None else host_config.readonly_paths
    namespaces, maps = build_namespaces(host_config, facts.namespace_path), record.id_maps
    if maps is not None:
        namespaces = [user_namespace(host_config, facts.namespace_path), *namespaces]
    return oci.Linux(
        namespaces=namespaces,
        uid_mappings=list(maps.uids) if maps else [],
        gid_mappings=list(maps.gids) if maps else [],
        devices=nodes,
        cgroups_path=cgroup_path(record, host),
        resources=build_resources(host_config, devices),
        rootfs_propagation=_root_propagation(record),
        sysctl=_sysctls(host_config, maps),
        masked_paths=masked,
        readonly_paths=readonly,
    )


def _root_propagation(record: ContainerRecord) -> str:
    """As Docker: the root must be at least a slave if a mount of the host is to reach the container."""
    wanted = {mount.propagation for mount in record.mounts}
    if wanted & {"shared", "rshared"}:
        return "shared"
    return "rslave" if wanted & {"slave", "rslave"} else ""


def owners(maps: IdMaps | None, on_disk: IdMaps | None, user: tuple[int, int]) -> Owners:
    """Whose files are whose. on_disk: the engine's map, which volumes have. user: ids inside."""
    if maps is None:
        return Owners(user=user)
    if maps == on_disk:
        volumes = None
    elif on_disk is None:
        volumes = maps
    else:
        volumes = IdMaps(tuple(composed(on_disk.uids, maps.uids)), tuple(composed(on_disk.gids, maps.gids)))
    return Owners(user=maps.outside(*user), maps=maps, volumes=volumes)


def _sysctls(host_config: HostConfig, maps: IdMaps | None) -> dict[str, str]:
    network = host_config.network_mode
    if network == "host" or network.startswith("container:"):
        return host_config.sysctls or {}
    defaults = _NETWORK_SYSCTLS
    if maps is not None:  # the kernel takes no group that is not mapped
        defaults = {**defaults, "net.ipv4.ping_group_range": f"0 {maps.gids[0].size - 1}"}
    if not host_config.sysctls:
        return defaults
    return {**defaults, **host_config.sysctls}


def build_exec_process(
    record: ContainerRecord,
    host: HostFacts,
    *,
    identity: Identity,
    args: list[str],
    env: list[str],
    cwd: str,
    terminal: bool,
    privileged: bool,
) -> tuple[bytes, bytes | None]:
    """(OCI process JSON, seccomp program or None) of a further process in the container."""
    host_config = record.host_config
    if privileged and not host_config.privileged:
        host_config = msgspec.structs.replace(host_config, privileged=True)
    security: SecurityOptions = parse_security_opt(
        host_config.security_opt, no_new_privileges=host.no_new_privileges
    )
    names = effective_capabilities(host_config, host.capabilities)
    process = oci.Process(
        user=oci.User(uid=identity.uid, gid=identity.gid, additional_gids=list(identity.groups)),
        args=args,
        cwd=cwd,
        env=env,
        terminal=terminal,
        capabilities=oci_capabilities(names, root=identity.uid == 0),
        no_new_privileges=security.no_new_privileges,
        apparmor_profile=profile_of(security, host_config, host.apparmor),
        oom_score_adj=host_config.oom_score_adj,
    )
    profile = seccomp_profile(security, host_config, host.seccomp_profile)
    return oci.encode(process), seccomp_program(profile, frozenset(names), host.seccomp)
