"""What a build may do only if whoever starts it says so (`--allow`), never because its text asks for it.

Source: CVE-2024-23653 (BuildKit ran privileged commands that nobody had granted).
"""

from __future__ import annotations

from collections.abc import Sequence

from corten.builder.graph import Exec
from corten.errors import Forbidden, InvalidParameter

NETWORK_HOST = "network.host"
SECURITY_INSECURE = "security.insecure"
DEVICE = "device"
KNOWN = (NETWORK_HOST, SECURITY_INSECURE, DEVICE)


def parse_entitlements(texts: Sequence[str]) -> frozenset[str]:
    """The values of `--allow`; `device=NAME` grants one device. Raises InvalidParameter for unknown ones."""
    for text in texts:
        if text.partition("=")[0] not in KNOWN:
            raise InvalidParameter(f"unknown entitlement {text!r}")
    return frozenset(texts)


def check_granted(granted: frozenset[str], denied: frozenset[str]) -> None:
    """Raises Forbidden if a build is granted what the engine's configuration denies to all."""
    for text in sorted(granted):
        if (name := text.partition("=")[0]) in denied:
            raise Forbidden(f"granting entitlement {name} is not allowed by build daemon configuration")


def check_entitlements(op: Exec, granted: frozenset[str]) -> None:
    """Raises Forbidden if the command needs what was not granted."""
    if op.network == "host" and NETWORK_HOST not in granted:
        raise _refused(NETWORK_HOST)
    if op.security == "insecure" and SECURITY_INSECURE not in granted:
        raise _refused(SECURITY_INSECURE)
    for device in op.devices:
        if DEVICE not in granted and f"{DEVICE}={device.name}" not in granted:
            raise _refused(f"{DEVICE}={device.name}")


def _refused(entitlement: str) -> Forbidden:
    return Forbidden(f"{entitlement} is not allowed: grant it with --allow {entitlement}")
