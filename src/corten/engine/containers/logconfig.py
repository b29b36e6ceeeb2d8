"""`--log-driver` and `--log-opt`. Unlike Docker's, our json-file rotates by default: 5 files of 20 MB."""

from __future__ import annotations

from corten.engine.containers.container import Container
from corten.errors import InvalidParameter, NotSupported
from corten.runtimes.protocol import LogTarget
from corten.types.container import LogConfig
from corten.units import parse_size

DRIVERS = ("json-file", "none")
_DOCKERS_OTHERS = (
    *("local", "journald", "syslog", "gelf", "fluentd", "awslogs", "gcplogs", "splunk"),
    "etwlogs",
)
_OPTIONS = frozenset({"max-size", "max-file", "labels", "labels-regex", "env", "env-regex", "tag"})
_DEFAULT_BYTES = 20 << 20
_DEFAULT_FILES = 5


def validate_log_config(config: LogConfig) -> None:
    """Raise InvalidParameter or NotSupported for drivers and options that will not work."""
    if config.type in _DOCKERS_OTHERS:
        raise NotSupported(f"the logging driver {config.type} is not supported yet")
    if config.type not in DRIVERS:
        raise InvalidParameter(
            f'error looking up logging plugin {config.type}: plugin "{config.type}" not found'
        )
    if config.type == "json-file":
        for name in config.config or ():
            if name not in (*_OPTIONS, "mode", "max-buffer-size", "compress"):
                raise InvalidParameter(f"unknown log opt '{name}' for json-file log driver")
        max_bytes(config)
        max_files(config)


def max_bytes(config: LogConfig) -> int:
    """Size at which a log file is rotated; "-1" is Docker's word for never."""
    text = (config.config or {}).get("max-size", "")
    if not text:
        return _DEFAULT_BYTES
    if text == "-1":
        return 1 << 62
    try:
        size = parse_size(text)
    except ValueError as e:
        raise InvalidParameter(str(e)) from e
    if size <= 0:
        raise InvalidParameter("max-size must be a positive number")
    return size


def max_files(config: LogConfig) -> int:
    """How many log files are kept."""
    text = (config.config or {}).get("max-file", "")
    if not text:
        return _DEFAULT_FILES
    if not text.isdigit() or int(text) < 1:
        raise InvalidParameter("max-file cannot be less than 1")
    return int(text)


def log_target(container: Container) -> LogTarget:
    """What the log writer is told."""
    config = container.record.host_config.log_config
    if config.type == "none":
        return LogTarget(driver="none")
    return LogTarget(
        driver="json-file",
        path=container.log_path,
        max_bytes=max_bytes(config),
        max_files=max_files(config),
        attrs=_attributes(container, config.config or {}),
    )


def _attributes(container: Container, options: dict[str, str]) -> dict[str, str]:
    """`labels` and `env` options: which of the container's are written with every line."""
    attributes: dict[str, str] = {}
    labels = container.record.config.labels or {}
    for name in filter(None, options.get("labels", "").split(",")):
        if name in labels:
            attributes[name] = labels[name]
    env = dict(entry.partition("=")[::2] for entry in container.record.config.env or ())
    for name in filter(None, options.get("env", "").split(",")):
        if name in env:
            attributes[name] = env[name]
    if tag := options.get("tag", ""):
        attributes["tag"] = tag.replace("{{.Name}}", container.name).replace("{{.ID}}", container.id[:12])
    return attributes
