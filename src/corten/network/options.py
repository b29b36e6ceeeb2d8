"""Driver options of networks: `-o` of `network create`, com.docker.network.*.

Source: https://docs.docker.com/engine/network/drivers/bridge/#options and macvlan's, ipvlan's pages.
Options that no driver knows are kept and shown, as Docker does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from corten.errors import InvalidParameter, NotSupported
from corten.network.config import LINK_NAME
from corten.network.egress.policy import OPTION as EGRESS
from corten.network.egress.policy import parse
from corten.network.portspec import PUBLISH_MODE
from corten.network.values import IPVLAN, MACVLAN, PUBLISH_MODES

_BRIDGE = "com.docker.network.bridge."
_GENERAL = "com.docker.network."
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_MODES = ("nat", "nat-unprotected", "routed", "isolated")
_IFNAME_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,10}")
MACVLAN_MODES = ("bridge", "private", "vepa", "passthru")
IPVLAN_MODES = ("l2", "l3", "l3s")
IPVLAN_FLAGS = ("bridge", "private", "vepa")


def bridge_settings(options: Mapping[str, str], *, internal: bool) -> dict[str, Any]:
    """Fields of `Network` that the bridge driver's options set. Raises InvalidParameter, NotSupported."""
    settings: dict[str, Any] = {}
    for name, (field, read) in _BRIDGE_OPTIONS.items():
        if name in options:
            settings[field] = read(name, options[name])
    modes, sources = {}, {}
    for version in ("4", "6"):
        mode = options.get(f"{_BRIDGE}gateway_mode_ipv{version}", "")
        if mode:
            if mode not in _MODES:
                raise InvalidParameter(
                    f"invalid value for {_BRIDGE}gateway_mode_ipv{version}: unknown gateway mode {mode}"
                )
            if mode == "isolated" and not internal:
                raise InvalidParameter("gateway mode 'isolated' can only be used for an internal network")
            modes[version] = mode
        source = options.get(f"{_GENERAL}host_ipv{version}", "")
        if source:
            sources[version] = _address(f"{_GENERAL}host_ipv{version}", source, int(version))
    return {**settings, "modes": modes, "sources": sources}


def parent_settings(driver: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Fields of `Network` that macvlan's and ipvlan's options set. Raises InvalidParameter."""
    if options.get(EGRESS):
        raise NotSupported(f"egress control is the bridge driver's: a {driver} network has no rules")
    known = MACVLAN_MODES if driver == MACVLAN else IPVLAN_MODES
    mode = options.get(f"{driver}_mode", "") or known[0]
    if mode not in known:
        raise InvalidParameter(
            f"requested {driver} mode '{mode}' is not valid, '{known[0]}' mode is the default"
        )
    flag = options.get("ipvlan_flag", "") or IPVLAN_FLAGS[0]
    if driver == IPVLAN and flag not in IPVLAN_FLAGS:
        raise InvalidParameter(
            f"requested ipvlan flag '{flag}' is not valid, '{IPVLAN_FLAGS[0]}' flag is the default"
        )
    parent = options.get("parent", "")
    if parent and not LINK_NAME.fullmatch(parent):
        raise InvalidParameter(f"invalid parent interface: {parent}")
    settings: dict[str, Any] = {"parent": parent, "mode": mode, "masquerade": False}
    if driver == IPVLAN:
        settings["flag"] = flag
    mtu = f"{_GENERAL}driver.mtu"
    if mtu in options:
        settings["mtu"] = _mtu(mtu, options[mtu])
    return settings


def switch(options: Mapping[str, str], version: int) -> bool | None:
    """What com.docker.network.enable_ipv4/6 says; None if nothing. Raises InvalidParameter."""
    name = f"{_GENERAL}enable_ipv{version}"
    return _flag(name, options[name]) if name in options else None


def _flag(name: str, text: str) -> bool:
    if text not in _TRUE + _FALSE:
        raise InvalidParameter(
            f'failed to parse {name} value: {text} (strconv.ParseBool: parsing "{text}": invalid syntax)'
        )
    return text in _TRUE


def _mtu(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidParameter(
            f'failed to parse {name} value: {text} (strconv.Atoi: parsing "{text}": invalid syntax)'
        )
    if not 68 <= int(text) <= 65535:
        raise InvalidParameter(f"invalid MTU number: {text}")
    return int(text)


def _link(name: str, text: str) -> str:
    if not LINK_NAME.fullmatch(text):
        raise InvalidParameter(
            f"invalid value for {name}: {text!r} is no name of a link (15 characters at most)"
        )
    return text


def _prefix(name: str, text: str) -> str:
    if not _IFNAME_PREFIX.fullmatch(text):
        raise InvalidParameter(f"invalid value for {name}: {text!r}")
    return text


def _publish_mode(name: str, text: str) -> str:
    if text not in PUBLISH_MODES:
        raise InvalidParameter(f"invalid value for {name}: {text!r}: use nat or socket")
    return text


def _policy(_: str, text: str) -> str:
    return parse(text).text if text else ""


def _address(name: str, text: str, version: int = 4) -> str:
    try:
        address = ip_address(text.strip("[]"))
    except ValueError as error:
        raise InvalidParameter(f"failed to parse {name} value: {text} (IP address is invalid)") from error
    if address.version != version:
        raise InvalidParameter(f"invalid value for {name}: {text} is not an IPv{version} address")
    return str(address)


_BRIDGE_OPTIONS: Mapping[str, tuple[str, Callable[[str, str], object]]] = {
    f"{_BRIDGE}name": ("bridge", _link),
    f"{_BRIDGE}enable_icc": ("icc", _flag),
    f"{_BRIDGE}enable_ip_masquerade": ("masquerade", _flag),
    f"{_BRIDGE}host_binding_ipv4": ("host_address", _address),
    f"{_BRIDGE}inhibit_ipv4": ("inhibit_ipv4", _flag),
    EGRESS: ("egress", _policy),
    PUBLISH_MODE: ("publish_mode", _publish_mode),
    f"{_GENERAL}driver.mtu": ("mtu", _mtu),
    f"{_GENERAL}container_iface_prefix": ("ifname_prefix", _prefix),
}
