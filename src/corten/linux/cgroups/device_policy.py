"""Device rules boiled down: a default and the exceptions from it, as the kernel's v1 controller keeps them.

Applying rules one after the other (later ones change earlier ones) and enforcing what remains are two
things: this does the first, so that v1 writes no rule twice and v2's program needs no loop.
Source: security/device_cgroup.c (devcgroup_update_access, dev_exception_add and _rm).
"""

from __future__ import annotations

from corten.linux import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Device = tuple[str, int | None, int | None]  # type (b or c), major, minor; None = any

MKNOD, READ, WRITE = 1, 2, 4  # BPF_DEVCG_ACC_* of linux/bpf.h; the v1 controller uses the same
_BITS = {"m": MKNOD, "r": READ, "w": WRITE}


class DevicePolicy:
    """`default_allow`, and `exceptions`: device -> access bits that are treated the other way round."""

    __slots__ = ("default_allow", "exceptions")

    def __init__(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Start from "allow everything", as a new root cgroup does, and apply OCI rules in order."""
        self.default_allow = True
        self.exceptions: dict[Device, int] = {}
        for rule in rules:
            self._apply(rule)

    def _apply(self, rule: Mapping[str, Any]) -> None:
        allow = bool(rule.get("allow"))
        if devices.is_everything(rule):
            self.default_allow = allow
            self.exceptions.clear()
            return
        bits = 0
        for letter in rule.get("access") or "rwm":
            bits |= _BITS[letter]
        kind = rule.get("type") or "a"
        for one in ("b", "c") if kind == "a" else (kind,):
            device = (one, devices.number(rule, "major"), devices.number(rule, "minor"))
            known = self.exceptions.get(device, 0)
            left = known & ~bits if allow is self.default_allow else known | bits
            if left:
                self.exceptions[device] = left
            else:
                self.exceptions.pop(device, None)


def access_text(bits: int) -> str:
    """Access bits -> letters, as in `rwm`."""
    return "".join(letter for letter in "rwm" if bits & _BITS[letter])
