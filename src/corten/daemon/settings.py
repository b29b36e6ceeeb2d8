"""What the engine's parts are told of daemon.json and of this machine."""

from __future__ import annotations

import logging

from corten.builder.config import BuilderConfig, parse_builder_config
from corten.daemon.config import ConfigError, DaemonConfig
from corten.daemon.instance import default_cgroup_parent, engine_id
from corten.daemon.transfers import proxy_settings
from corten.engine.cdi import DIRECTORIES as CDI_DIRECTORIES
from corten.engine.containers import apparmor
from corten.engine.containers.context import Settings
from corten.engine.containers.ociruntimes import OURS, OciRuntimes, parse_runtimes
from corten.engine.containers.seccomp import Profiles
from corten.engine.containers.security import BUILTIN, UNCONFINED
from corten.engine.containers.spec import HostFacts
from corten.engine.system import Identity
from corten.errors import CortenError, InvalidParameter
from corten.linux.capabilities import NAMES
from corten.types.container import Ulimit
from corten.units import parse_binary_size

log = logging.getLogger(__name__)


def host_facts(config: DaemonConfig) -> HostFacts:
    """What containers are made of here. Raises ConfigError."""
    return HostFacts(
        capabilities=_known_capabilities(),
        seccomp=Profiles(),
        default_ulimits=_ulimits(config),
        cgroup_parent=config.text("cgroup-parent") or default_cgroup_parent(config.root),
        no_new_privileges=config.flag("no-new-privileges"),
        seccomp_profile=_seccomp_profile(_seccomp_name(config)),
        apparmor=_apparmor(),
        id_maps=config.id_maps,
    )


def _seccomp_name(config: DaemonConfig) -> str:
    """BUILTIN, UNCONFINED or a path."""
    return config.text("seccomp-profile") or BUILTIN


def _seccomp_profile(name: str) -> str:
    """What the name stands for. A profile that no container could be started with fails here already."""
    if name in (BUILTIN, UNCONFINED):
        return name
    try:
        with open(name, encoding="utf-8") as file:
            text = file.read()
        Profiles().profile(text.encode(), frozenset())
    except OSError as e:
        raise ConfigError(f"opening seccomp profile ({name}) failed: {e.strerror}") from e
    except (UnicodeDecodeError, CortenError) as e:
        raise ConfigError(f"seccomp profile ({name}): {e}") from e
    return text


def _apparmor() -> str:
    try:
        return apparmor.install()
    except OSError as e:
        log.warning("containers are not confined by AppArmor", extra={"reason": str(e)})
        return ""


def builder_config(config: DaemonConfig) -> BuilderConfig:
    """What the builder is told. Raises ConfigError."""
    try:
        return parse_builder_config(config.settings.get("builder"))
    except InvalidParameter as e:
        raise ConfigError(str(e)) from e


def _known_capabilities() -> tuple[str, ...]:
    """Those that this kernel has."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return NAMES[: int(file.read()) + 1]


def _ulimits(config: DaemonConfig) -> dict[str, Ulimit]:
    document = config.settings.get("default-ulimits", {})
    if not isinstance(document, dict):
        raise ConfigError("default-ulimits must be an object")
    found = {}
    for name, each in document.items():
        try:
            found[name] = Ulimit(name=name, soft=int(each["Soft"]), hard=int(each["Hard"]))
        except (TypeError, KeyError, ValueError) as e:
            raise ConfigError(f"invalid default-ulimits entry {name}: {e!r}") from e
    return found


def settings(config: DaemonConfig) -> Settings:
    """What may change while the engine runs. Raises ConfigError."""
    text = config.text("default-shm-size")
    try:
        shm_size = parse_binary_size(text) if text else 0
    except ValueError as e:
        raise ConfigError(f"invalid default-shm-size: {e}") from e
    try:
        runtimes = OciRuntimes(
            parse_runtimes(config.settings.get("runtimes", {})), config.text("default-runtime") or OURS
        )
    except (ValueError, InvalidParameter) as e:
        raise ConfigError(str(e)) from e
    return Settings(
        runtimes=runtimes,
        log_driver=config.text("log-driver") or "json-file",
        log_options=config.mapping("log-opts"),
        shm_size_bytes=shm_size,
        init=config.flag("init"),
        cdi_directories=config.texts("cdi-spec-dirs") or CDI_DIRECTORIES,
    )


def identity(config: DaemonConfig) -> Identity:
    """What `docker info` tells of the engine itself."""
    proxies = proxy_settings(config)
    return Identity(
        id=engine_id(config.root),
        root=config.root,
        labels=config.texts("labels"),
        debug=config.flag("debug"),
        live_restore=config.flag("live-restore", default=True),
        experimental=config.flag("experimental"),
        seccomp_profile=_seccomp_name(config),
        insecure_registries=config.texts("insecure-registries"),
        registry_mirrors=[f"{url.rstrip('/')}/" for url in config.texts("registry-mirrors")],
        proxies={kind: proxies.get(f"{kind}-proxy", "") for kind in ("http", "https", "no")},
    )
