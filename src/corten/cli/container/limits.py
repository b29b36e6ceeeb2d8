"""Ulimits, devices, GPUs, block device throttles and security options to HostConfig."""

from __future__ import annotations

from corten.cli import values
from corten.cli.container.mounts import split_csv
from corten.cli.errors import HintedError
from corten.cli.flags import Options, invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ULIMITS = frozenset(
    (
        *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
        *("rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)
_THROTTLES = {
    "device-read-bps": "BlkioDeviceReadBps",
    "device-write-bps": "BlkioDeviceWriteBps",
    "device-read-iops": "BlkioDeviceReadIOps",
    "device-write-iops": "BlkioDeviceWriteIOps",
}


def apply(options: Options, host: dict[str, Any]) -> None:
    """Put what was given into `host`. Raises FlagError, ExitError."""
    if options.items("ulimit"):
        host["Ulimits"] = ulimits(options)
    if items := options.items("blkio-weight-device"):
        host["BlkioWeightDevice"] = [_weight(options, item) for item in items]
    for flag, field in _THROTTLES.items():
        if items := options.items(flag):
            host[field] = [_throttle(options, flag, item) for item in items]
    _devices(options, host)
    if items := options.items("security-opt"):
        _security(items, host)


def ulimits(options: Options) -> list[dict[str, Any]]:
    """The `--ulimit`s; the last one of a name counts."""
    found = (_ulimit(options, item) for item in options.items("ulimit"))
    last = {limit["Name"]: limit for limit in found}
    return [last[name] for name in sorted(last)]


def _ulimit(options: Options, text: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise invalid(options, "ulimit", text, f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise invalid(options, "ulimit", text, f"invalid ulimit type: {name}")
    soft_text, colon, hard_text = value.partition(":")
    try:
        soft = values.integer(soft_text)
        hard = values.integer(hard_text) if colon else soft
    except ValueError as e:
        raise invalid(options, "ulimit", text, str(e)) from e
    if hard != -1 and (soft == -1 or soft > hard):
        shown = f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        raise invalid(options, "ulimit", text, shown)
    return {"Name": name, "Hard": hard, "Soft": soft}


def _weight(options: Options, text: str) -> dict[str, Any]:
    path, colon, weight = text.partition(":")
    if not colon or not path.startswith("/dev/") or not weight.isdigit():
        raise invalid(options, "blkio-weight-device", text, f"bad format: {text}")
    if weight != "0" and not 10 <= int(weight) <= 1000:
        raise invalid(options, "blkio-weight-device", text, f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(weight)}


def _throttle(options: Options, flag: str, text: str) -> dict[str, Any]:
    path, colon, rate = text.partition(":")
    if not colon:
        raise invalid(options, flag, text, f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise invalid(options, flag, text, f"bad format for device path: {text}")
    try:
        number = values.size(rate) if flag.endswith("bps") else int(rate)
    except ValueError:
        unit = (
            "<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
        shown = unit if flag.endswith("bps") else "<number>. Number must be a positive integer"
        problem = f"invalid rate for device: {text}. The correct format is <device-path>:{shown}"
        raise invalid(options, flag, text, problem) from None
    return {"Path": path, "Rate": number}


def _devices(options: Options, host: dict[str, Any]) -> None:
    devices = []
    requests = [_gpus(options, item) for item in options.items("gpus")]
    for item in options.items("device"):
        if _is_cdi_name(item):
            requests.append({"Driver": "cdi", "DeviceIDs": [item]})
        else:
            devices.append(_device(item))
    if devices:
        host["Devices"] = devices
    if requests:
        host["DeviceRequests"] = requests


def _is_cdi_name(text: str) -> bool:
    """`vendor.example/class=name` (CDI specification), never a path."""
    kind, equals, name = text.partition("=")
    return bool(equals and name and "/" in kind and not text.startswith("/"))


def _device(text: str) -> dict[str, str]:
    parts = text.split(":")
    outside, inside, permissions = parts[0], "", "rwm"
    if len(parts) == 3:
        permissions = parts[2]
    if len(parts) >= 2:
        if _is_device_mode(parts[1]) and len(parts) == 2:
            permissions = parts[1]
        else:
            inside = parts[1]
    if len(parts) > 3:
        raise HintedError(f"invalid device specification: {text}")
    if not _is_device_mode(permissions):
        raise HintedError(f"bad mode specified: {permissions}")
    if not outside.startswith("/"):
        raise HintedError(f"{outside} is not an absolute path")
    return {"PathOnHost": outside, "PathInContainer": inside or outside, "CgroupPermissions": permissions}


def _is_device_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def _gpus(options: Options, text: str) -> dict[str, Any]:
    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Options": {}}
    capabilities: list[str] = []
    for field in split_csv(text):
        key, equals, value = field.partition("=")
        if not equals or key == "count":
            count = value if equals else field
            if count != "all" and not count.lstrip("-").isdigit():
                shown = f'invalid count ({count}): value must be either "all" or an integer: invalid syntax'
                raise invalid(options, "gpus", text, shown)
            request["Count"] = -1 if count == "all" else int(count)
        elif key == "driver":
            request["Driver"] = value
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "capabilities":
            capabilities += value.split(",")
        elif key == "options":
            request["Options"] = dict(item.partition("=")[::2] for item in split_csv(value))
        else:
            raise invalid(options, "gpus", text, f"unexpected key '{key}' in '{field}'")
    if request["Count"] == 0 and not request["DeviceIDs"]:
        request["Count"] = 1
    request["Capabilities"] = [capabilities if "gpu" in capabilities else [*capabilities, "gpu"]]
    return request


def _security(items: list[str], host: dict[str, Any]) -> None:
    kept = []
    for item in items:
        if item == "systempaths=unconfined":
            host["MaskedPaths"] = []
            host["ReadonlyPaths"] = []
            continue
        key, separator, value = item.partition("=")
        if not separator:
            key, separator, value = item.partition(":")
        if not separator and key != "no-new-privileges":
            raise HintedError(f'Invalid --security-opt: "{item}"')
        if key == "seccomp" and value not in ("builtin", "unconfined"):
            item = f"seccomp={_profile(value)}"
        kept.append(item)
    if kept:
        host["SecurityOpt"] = kept


def _profile(path: str) -> str:
    """A seccomp profile's text without its blanks: the engine does not see our files."""
    from corten.client import jsontext

    try:
        with open(path, encoding="utf-8") as f:
            return jsontext.dumps(jsontext.loads(f.read()))
    except OSError as e:
        problem = f"open {path}: {(e.strerror or '').lower()}"
        raise HintedError(f"opening seccomp profile ({path}) failed: {problem}") from e
    except ValueError as e:
        raise HintedError(f"compacting json for seccomp profile ({path}) failed: {e}") from e
