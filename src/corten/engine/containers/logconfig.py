"""`--log-driver` and `--log-opt`: what is accepted, and what the log writer is told.

Unlike Docker's, our json-file rotates by default: 5 files of 20 MB. Every driver but "none" leaves a file
that `logs` reads: those of servers have one beside (dual logging), in the format of json-file as `local` has.
"""

from __future__ import annotations

import os

from corten.engine.containers.container import Container
from corten.engine.containers.logserver import REMOTE_OPTIONS, buffer_bytes, remote_target
from corten.engine.containers.logtags import attributes
from corten.errors import InvalidParameter, NotSupported
from corten.regex import InvalidRegex, Regex
from corten.runtimes.protocol import LogTarget
from corten.types.container import LogConfig
from corten.units import parse_duration, parse_size

_ELSEWHERE = ("awslogs", "gcplogs", "splunk", "etwlogs")
_ABOUT = frozenset({"labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"})
_FILE = frozenset({"max-size", "max-file", "compress"})
_CACHE = frozenset({"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})
_OPTIONS = {
    "json-file": _ABOUT | _FILE,
    "local": _ABOUT | _FILE | {"max-age"},
    **{driver: _ABOUT | _CACHE | own for driver, own in REMOTE_OPTIONS.items()},
}
DRIVERS = (*sorted(_OPTIONS), "none")
_DEFAULT_BYTES = 20 << 20
_DEFAULT_FILES = 5
_TRUTHS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


def validate_log_config(config: LogConfig) -> None:
    """Raise InvalidParameter or NotSupported for drivers and options that will not work."""
    driver, options = config.type, config.config or {}
    if driver in _ELSEWHERE:
        raise NotSupported(f"the logging driver {driver} is not supported by Corten")
    if driver not in DRIVERS:
        raise InvalidParameter(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    if driver == "none":
        return
    for name in options:
        if name not in _OPTIONS[driver]:
            raise InvalidParameter(f"unknown log opt '{name}' for {driver} log driver")
    _check_mode(options)
    for name in ("labels-regex", "env-regex"):
        try:
            Regex(options.get(name, ""))
        except InvalidRegex as e:
            raise InvalidParameter(f"invalid {name}: {e}") from e
    if driver in REMOTE_OPTIONS:
        remote_target(driver, options, None)
    else:
        file_settings(driver, options)


def _check_mode(options: dict[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidParameter(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
            )
        buffer_bytes(options)


def file_settings(driver: str, options: dict[str, str], prefix: str = "") -> tuple[int, int, int, bool]:
    """(bytes of a file, how many files, seconds of a file, whether to compress)."""
    size = _DEFAULT_BYTES
    if options.get(f"{prefix}max-size") == "-1":  # Docker's word for never
        size = 1 << 62
    elif options.get(f"{prefix}max-size"):
        size = _size(f"{prefix}max-size", options)
    text = options.get(f"{prefix}max-file", "")
    if text and (not text.isdigit() or int(text) < 1):
        raise InvalidParameter(f"{prefix}max-file cannot be less than 1")
    count = int(text) if text else _DEFAULT_FILES
    compress = _truth(f"{prefix}compress", options, default=driver != "json-file" and count > 1)
    if compress and (count < 2 or size == 1 << 62):
        raise InvalidParameter("compress cannot be true when max-file is less than 2 or max-size is not set")
    age = options.get("max-age", "")
    try:
        seconds = parse_duration(age) // 1_000_000_000 if age else 0
    except ValueError as e:
        raise InvalidParameter(f"invalid max-age: {e}") from e
    if seconds < 0:
        raise InvalidParameter("max-age must be a positive duration")
    return size, count, seconds, compress


def _size(name: str, options: dict[str, str]) -> int:
    try:
        size = parse_size(options[name])
    except ValueError as e:
        raise InvalidParameter(str(e)) from e
    if size <= 0:
        raise InvalidParameter(f"{name} must be a positive number")
    return size


def _truth(name: str, options: dict[str, str], *, default: bool) -> bool:
    text = options.get(name, "")
    if text.lower() not in ("", *_TRUTHS):
        raise InvalidParameter(f'{name}: strconv.ParseBool: parsing "{text}": invalid syntax')
    return _TRUTHS.get(text.lower(), default)


def log_target(container: Container) -> LogTarget:
    """What the log writer is told; the directory of its file is there."""
    config = container.record.host_config.log_config
    driver, options = config.type, config.config or {}
    if driver == "none":
        return LogTarget()
    is_remote = driver in REMOTE_OPTIONS
    size, count, seconds, compress = file_settings(driver, options, "cache-" if is_remote else "")
    path = container.log_path
    if path and driver != "json-file":
        os.makedirs(os.path.dirname(path), 0o710, exist_ok=True)
    return LogTarget(
        path=path,
        max_bytes=size,
        max_files=count,
        max_age_s=seconds,
        compress=compress,
        attrs=attributes(container, options, tagged=bool(options.get("tag"))),
        remote=remote_target(driver, options, container) if is_remote else {},
    )
