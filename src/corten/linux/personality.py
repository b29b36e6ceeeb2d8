"""Execution domains, personality(2): what uname(2) says of the machine, above all."""

from __future__ import annotations

from corten.linux.syscalls import check, libc

# OCI runtime-spec, config-linux.md "Personality"
DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}

_personality = libc.personality


class Personality:
    """Have that of `domain` (a key of DOMAINS) for a while; children born meanwhile keep it."""

    __slots__ = ("_before", "_domain")

    def __init__(self, domain: str) -> None:
        self._domain = DOMAINS[domain]
        self._before = 0

    def __enter__(self) -> None:
        self._before = check(_personality(self._domain), "personality")

    def __exit__(self, *_: object) -> None:
        check(_personality(self._before), "personality")
