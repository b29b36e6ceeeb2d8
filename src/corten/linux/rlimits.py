"""Resource limits: OCI `process.rlimits` by setrlimit(2), and the names Docker's `--ulimit` takes."""

from __future__ import annotations

import resource

from corten.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

# Numbers of asm-generic/resource.h: the same on every machine that Corten runs on.
NUMBERS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}

_INFINITY = 0xFFFF_FFFF_FFFF_FFFF  # how JSON documents spell RLIM_INFINITY (they may also say -1)


def number_of(name: str) -> int:
    """`RLIMIT_NOFILE` or Docker's `nofile` -> resource number. Raises InvalidParameter."""
    full = name if name.startswith("RLIMIT_") else "RLIMIT_" + name.upper()
    number = NUMBERS.get(full)
    if number is None:
        raise InvalidParameter(f"invalid ulimit type: {name}")
    return number


def set_rlimits(limits: Iterable[Mapping[str, Any]]) -> list[str]:
    """Set OCI rlimits [{type, soft, hard}] on the calling process; returns warnings.

    A hard limit above our own needs CAP_SYS_RESOURCE. Where that is missing the limit is raised as far
    as allowed and a warning says so; a container that could run is never refused for it.
    Raises InvalidParameter for unknown names or soft > hard, OSError otherwise.
    """
    warnings: list[str] = []
    for limit in limits:
        number = number_of(limit["type"])
        soft, hard = _value(limit["soft"]), _value(limit["hard"])
        if _rank(soft) > _rank(hard):
            raise InvalidParameter(
                f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )
        try:
            resource.setrlimit(number, (soft, hard))
        except (ValueError, PermissionError):  # ValueError is how `resource` reports EPERM
            _, own = resource.getrlimit(number)
            resource.setrlimit(number, (min(soft, own, key=_rank), own))
            warnings.append(f"{limit['type']}: hard limit {hard} is not permitted, left at {own}")
    return warnings


def _value(value: int) -> int:
    return resource.RLIM_INFINITY if value in (_INFINITY, -1) else value


def _rank(value: int) -> int:
    return _INFINITY if value == resource.RLIM_INFINITY else value
