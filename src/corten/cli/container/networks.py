"""`--network` (short and long form) and its companions to NetworkMode and endpoints."""

from __future__ import annotations

from corten.cli.container.mounts import split_csv
from corten.cli.errors import HintedError
from corten.cli.flags import Options, invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNMANAGED = ("host", "none", "default", "bridge")


def mode_and_endpoints(options: Options) -> tuple[str, dict[str, Any]]:
    """NetworkMode (the first network) and the endpoints to make. Raises ExitError, FlagError."""
    networks = []
    for text in (*options.items("network"), *options.items("net")):
        try:
            networks.append(_parse(text))
        except ValueError as e:
            raise invalid(options, "network", text, str(e)) from e
    first = networks[0] if networks else ("default", {})
    _apply_flags(options, first)
    endpoints: dict[str, Any] = {}
    for name, settings in networks or [first]:
        if not name:
            raise HintedError("no name set for network")
        if len(networks) > 1 and not _may_be_joined(name):
            raise HintedError(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
            )
        if name in endpoints:
            raise HintedError(f'network "{name}" is specified multiple times')
        endpoints[name] = settings
    needed = {
        name: settings
        for name, settings in endpoints.items()
        if settings or len(endpoints) > 1 or _is_user_defined(name)
    }
    return first[0], needed


def _is_user_defined(name: str) -> bool:
    return name not in _UNMANAGED and not name.startswith("container:")


def _may_be_joined(name: str) -> bool:
    return name not in ("host", "none") and not name.startswith("container:")


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    fields = split_csv(text)
    if len(fields) == 1 and "=" not in text:
        return text, {}
    name = ""
    settings: dict[str, Any] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals or not key:
            raise ValueError(f"invalid key/value pair: '{field}'" if equals else f"invalid field {field}")
        if key == "name":
            name = value
        elif key == "alias":
            settings.setdefault("Aliases", []).append(value)
        elif key in ("ip", "ip6"):
            address = {"ip": "IPv4Address", "ip6": "IPv6Address"}[key]
            settings.setdefault("IPAMConfig", {})[address] = value
        elif key == "link-local-ip":
            settings.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", []).append(value)
        elif key == "mac-address":
            settings["MacAddress"] = value
        elif key == "driver-opt":
            option, found, setting = value.partition("=")
            if not found or not option:
                raise ValueError("invalid key value pair format in driver options")
            settings.setdefault("DriverOpts", {})[option.strip().lower()] = setting.strip()
        elif key == "gw-priority":
            if not value.lstrip("-").isdigit():
                raise ValueError(f'invalid gw-priority: strconv.Atoi: parsing "{value}": invalid syntax')
            settings["GwPriority"] = int(value)
        else:
            raise ValueError(f"invalid field key {key}")
    if not name:
        raise ValueError("network name/id is not specified")
    return name, settings


def _apply_flags(options: Options, first: tuple[str, dict[str, Any]]) -> None:
    """The flags beside --network belong to the first network."""
    settings = first[1]
    if aliases := options.items("network-alias") + options.items("net-alias"):
        if "Aliases" in settings:
            raise HintedError(
                "conflicting options: cannot specify both --network-alias and per-network alias"
            )
        settings["Aliases"] = aliases
    if (links := options.items("link")) and _is_user_defined(first[0]):
        settings["Links"] = links
    addresses = settings.get("IPAMConfig", {})
    for flag, key in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        if options[flag]:
            if key in addresses:
                raise HintedError(
                    f"conflicting options: cannot specify both --{flag} and per-network {flag} address"
                )
            settings.setdefault("IPAMConfig", {})[key] = options[flag]
    if local := options.items("link-local-ip"):
        settings.setdefault("IPAMConfig", {})["LinkLocalIPs"] = local
    if options["mac-address"]:
        if not _is_mac_address(options["mac-address"]):
            raise HintedError(f"{options['mac-address']} is not a valid mac address")
        settings["MacAddress"] = options["mac-address"]


def _is_mac_address(text: str) -> bool:
    """Six, eight or twenty bytes in hexadecimal, with colons or dashes between them."""
    parts = text.replace("-", ":").split(":")
    digits = set("0123456789abcdefABCDEF")
    return len(parts) in (6, 8, 20) and all(len(p) == 2 and set(p) <= digits for p in parts)
