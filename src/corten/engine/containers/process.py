"""The `process` part of config.json: arguments, environment, identity, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corten.engine.containers.config import merge_env
from corten.engine.containers.users import Identity
from corten.errors import InvalidParameter
from corten.oci import runtime_spec as oci
from corten.types.container import ContainerConfig, HostConfig, Ulimit

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_RLIMITS = frozenset(
    {
        *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile"),
        *("nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
    }
)


def build_process(
    config: ContainerConfig,
    host_config: HostConfig,
    *,
    identity: Identity,
    hostname: str,
    capabilities: oci.Capabilities,
    no_new_privileges: bool,
    default_ulimits: Mapping[str, Ulimit],
    linked_env: Sequence[str] = (),
    apparmor_profile: str = "",
) -> oci.Process:
    """The first process of a container."""
    rows, columns = host_config.console_size
    return oci.Process(
        user=oci_user(identity),
        args=[*(config.entrypoint or ()), *(config.cmd or ())],
        cwd=config.working_dir or "/",
        env=environment(
            config.env or (), tty=config.tty, hostname=hostname, home=identity.home, linked=linked_env
        ),
        terminal=config.tty,
        console_size=oci.Box(height=rows, width=columns) if config.tty and rows and columns else None,
        capabilities=capabilities,
        rlimits=rlimits(host_config.ulimits or (), default_ulimits),
        no_new_privileges=no_new_privileges,
        apparmor_profile=apparmor_profile,
        oom_score_adj=host_config.oom_score_adj,
    )


def oci_user(identity: Identity) -> oci.User:
    """An identity in the specification's words."""
    return oci.User(uid=identity.uid, gid=identity.gid, additional_gids=list(identity.groups))


def environment(
    given: Sequence[str], *, tty: bool, hostname: str, home: str, linked: Sequence[str] = ()
) -> list[str]:
    """Docker's defaults, what `--link` brings, then what image and user said; HOME last, if nobody set it."""
    defaults = [DEFAULT_PATH]
    if hostname:
        defaults.append(f"HOSTNAME={hostname}")
    if tty:
        defaults.append("TERM=xterm")
    env = merge_env([*defaults, *linked], given)
    if not any(entry.startswith("HOME=") for entry in env):
        env.append(f"HOME={home}")
    return env


def rlimits(given: Sequence[Ulimit], defaults: Mapping[str, Ulimit]) -> list[oci.Rlimit]:
    """`--ulimit` over the daemon's defaults. -1 = unlimited. Raises InvalidParameter for unknown names."""
    chosen = dict(defaults)
    for limit in given:
        if limit.name not in _RLIMITS:
            raise InvalidParameter(f"invalid ulimit type: {limit.name}")
        chosen[limit.name] = limit
    return [
        oci.Rlimit(type=f"RLIMIT_{name.upper()}", soft=_bound(limit.soft), hard=_bound(limit.hard))
        for name, limit in chosen.items()
    ]


def _bound(value: int) -> int:
    return value if value >= 0 else (1 << 64) - 1  # RLIM_INFINITY
