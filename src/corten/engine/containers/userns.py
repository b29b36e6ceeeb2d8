"""User namespaces of containers: which ids of the host stand for theirs.

Layers and upperdirs hold ids as they are inside (see `corten.linux.mapped_overlay`), so a container's ids
concern only what runs, and its volumes: on the disk these hold the ids of the engine's own map, as Docker's.

    --userns=""                       the engine's map (userns-remap), or none
    --userns=host                     none
    --userns=auto[:size=N]            a range that no other container has, of those of the user "containers"
    --userns=keep-id:uid=N,gid=N      the same, but that user of the host is itself inside
    another's network, IPC or pids    that container's map
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from corten.engine.subids import SUBGID, SUBUID, Range, subordinate_ranges
from corten.errors import Conflict, InvalidParameter
from corten.oci.runtime_spec import IDMapping
from corten.types.container import HostConfig

OWNER = "containers"
"""Whose ranges `auto` and `keep-id` take; Podman's name for it."""

_SIZE = 1 << 16
_LARGEST = 1 << 31


class IdMaps(msgspec.Struct, frozen=True):
    """A container's ids, inside and outside."""

    uids: tuple[IDMapping, ...]
    gids: tuple[IDMapping, ...]

    @property
    def root(self) -> tuple[int, int]:
        """uid and gid outside of the container's root."""
        return self.outside(0, 0)

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """The host's ids for these. Raises InvalidParameter for what is not mapped."""
        return _outside(self.uids, uid), _outside(self.gids, gid)

    def documents(self) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
        """For messages to the runtime, in OCI's words."""
        return [msgspec.to_builtins(each) for each in self.uids], [
            msgspec.to_builtins(each) for each in self.gids
        ]


class UsernsMode(msgspec.Struct, frozen=True):
    """`--userns`, taken apart. kind: "", host, auto, keep-id."""

    kind: str
    size: int = _SIZE
    uid: int = 0
    gid: int = 0


_UNSAID = UsernsMode("")


def parse_mode(text: str) -> UsernsMode:
    """Raises InvalidParameter."""
    if not text:
        return _UNSAID
    kind, colon, rest = text.partition(":")
    options: dict[str, int] = {}
    for word in rest.split(",") if colon else ():
        key, _, value = word.partition("=")
        if not value.isdecimal() or int(value) > _LARGEST:
            raise InvalidParameter(f"invalid user namespace mode: {text}")
        options[key] = int(value)
    allowed = {"auto": {"size"}, "keep-id": {"uid", "gid"}}.get(kind, set())
    if (
        kind not in ("", "host", "auto", "keep-id")
        or not options.keys() <= allowed
        or (colon and not options)
    ):
        raise InvalidParameter(f"invalid user namespace mode: {text}")
    mode = UsernsMode(kind, **options)
    if kind == "auto" and not mode.size:
        raise InvalidParameter(f"invalid user namespace mode: {text}")
    if kind == "keep-id" and not (mode.uid and mode.gid):
        raise InvalidParameter(
            f"invalid user namespace mode: {text}: it has to name the user, as keep-id:uid=1000,gid=1000, "
            "and that cannot be root"
        )
    return mode


def kept_user(text: str) -> str:
    """Who the process of a `keep-id` container is unless something else is said; "" for other modes."""
    mode = parse_mode(text)
    return f"{mode.uid}:{mode.gid}" if mode.kind == "keep-id" else ""


def check_conflicts(host_config: HostConfig) -> None:
    """What a container in a user namespace cannot have, in Docker's words. Raises InvalidParameter."""
    if host_config.privileged:
        raise InvalidParameter(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host "
            "namespace when running privileged mode"
        )
    if host_config.network_mode == "host":
        raise InvalidParameter("cannot share the host's network namespace when user namespaces are enabled")
    if host_config.pid_mode == "host":
        raise InvalidParameter("cannot share the host PID namespace when user namespaces are enabled")


class Chooser:
    """Decides on a new container's map."""

    def __init__(self, default: IdMaps | None, taken: Callable[[], Iterable[IdMaps]]) -> None:
        """default: the engine's map (userns-remap). taken: the maps of all containers."""
        self._default = default
        self._taken = taken

    def choose(self, host_config: HostConfig, peers: Sequence[IdMaps | None]) -> IdMaps | None:
        """None = the host's ids. peers: maps of the containers whose namespaces are to be joined.

        Raises InvalidParameter, Conflict (no ids left, or others than the peers').
        """
        mode = parse_mode(host_config.userns_mode)
        if mode.kind == "" and peers:
            chosen = peers[0]
        elif mode.kind == "":
            chosen = self._default
        elif mode.kind == "host":
            chosen = None
        else:
            chosen = self._own(mode)
        if chosen is not None:
            check_conflicts(host_config)
        if any(peer != chosen for peer in peers):
            raise Conflict("cannot join the namespaces of a container that has another user namespace")
        return chosen

    def _own(self, mode: UsernsMode) -> IdMaps:
        uids, gids = [], []
        for maps in self._taken():
            uids += [(each.host_id, each.size) for each in maps.uids]
            gids += [(each.host_id, each.size) for each in maps.gids]
        return IdMaps(
            _map(mode, mode.uid, _free(SUBUID, uids, mode)), _map(mode, mode.gid, _free(SUBGID, gids, mode))
        )


def composed(inner: Sequence[IDMapping], outer: Sequence[IDMapping]) -> list[IDMapping]:
    """From `inner`'s host ids to `outer`'s, where both know the container's id."""
    found = []
    for one in inner:
        for other in outer:
            first = max(one.container_id, other.container_id)
            end = min(one.container_id + one.size, other.container_id + other.size)
            if first < end:
                found.append(
                    IDMapping(
                        container_id=one.host_id + first - one.container_id,
                        host_id=other.host_id + first - other.container_id,
                        size=end - first,
                    )
                )
    return found


def consecutive(ranges: Sequence[Range]) -> tuple[IDMapping, ...]:
    """The ids of the ranges, one after the other, from 0 on."""
    mappings, inside = [], 0
    for first, count in ranges:
        mappings.append(IDMapping(container_id=inside, host_id=first, size=count))
        inside += count
    return tuple(mappings)


def _outside(mappings: Sequence[IDMapping], inside: int) -> int:
    for each in mappings:
        if each.container_id <= inside < each.container_id + each.size:
            return each.host_id + inside - each.container_id
    raise InvalidParameter(f"the id {inside} is not mapped in the container's user namespace")


def _free(path: str, taken: Sequence[Range], mode: UsernsMode) -> int:
    """The first id of a range that nobody has. Raises Conflict."""
    ranges = subordinate_ranges(path, OWNER)
    if not ranges:
        raise Conflict(
            f"--userns={mode.kind} needs ids for containers: a line '{OWNER}:FIRST:COUNT' in {path}"
        )
    for first, count in ranges:
        candidate = first
        for start, length in sorted(taken):
            if start + length > candidate and start < candidate + mode.size:
                candidate = start + length
        if candidate + mode.size <= first + count:
            return candidate
    raise Conflict(f"no {mode.size} ids are left of those of {OWNER} in {path}")


def _map(mode: UsernsMode, kept: int, first: int) -> tuple[IDMapping, ...]:
    if mode.kind == "auto":
        return consecutive([(first, mode.size)])
    if first <= kept < first + mode.size:
        raise Conflict(f"the id {kept} is itself one of those for containers")
    own = IDMapping(container_id=kept, host_id=kept, size=1)
    below = IDMapping(container_id=0, host_id=first, size=min(kept, mode.size))
    if kept >= mode.size:
        return (below, own)
    above = IDMapping(container_id=kept + 1, host_id=first + kept, size=mode.size - kept)
    return (below, own, above)
