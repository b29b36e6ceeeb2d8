"""Device nodes and device cgroup rules: Docker's and runc's defaults, `--device`, `--device-cgroup-rule`.

Documents are OCI's. A *node* is an entry of `linux.devices`: {path, type, major, minor, fileMode, uid,
gid}; a *rule* one of `linux.resources.devices`: {allow, type, major, minor, access}, where a missing
number means any, a missing type means both, and rules apply in order.
"""

from __future__ import annotations

import os
import stat

from corten.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Node = dict[str, Any]
    Rule = dict[str, Any]

DEFAULT_NODES: tuple[tuple[str, int, int], ...] = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
"""Character devices every container has, mode 0666 (runtime-spec config-linux.md "Default Devices")."""


def _allow(kind: str, major: int | None, minor: int | None, access: str) -> Rule:
    rule: Rule = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


DENY_ALL: Rule = {"allow": False, "access": "rwm"}
ALLOW_ALL: Rule = {"allow": True, "access": "rwm"}

RUNTIME_RULES: tuple[Rule, ...] = (
    _allow("c", None, None, "m"),  # mknod itself is harmless: opening is what the rules guard
    _allow("b", None, None, "m"),
    *(_allow("c", major, minor, "rwm") for _, major, minor in DEFAULT_NODES),
    _allow("c", 136, None, "rwm"),  # pty slaves
    _allow("c", 5, 2, "rwm"),  # ptmx
)
"""What the runtime grants on top of whatever the specification says, as runc does."""

DOCKER_RULES: tuple[Rule, ...] = (
    DENY_ALL,
    _allow("c", 1, 5, "rwm"),
    _allow("c", 1, 3, "rwm"),
    _allow("c", 1, 9, "rwm"),
    _allow("c", 1, 8, "rwm"),
    _allow("c", 5, 0, "rwm"),
    _allow("c", 5, 1, "rwm"),
    {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},  # fuse
)
"""`linux.resources.devices` of an ordinary Docker container."""

_NOT_A_DEVICE = 'error gathering device information while adding custom device "{}": not a device node'
_NOT_HOST_DEVICES = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"})


def effective_rules(rules: list[Rule]) -> list[Rule]:
    """The rules to enforce for a specification's `rules`: these, then the runtime's own."""
    if rules and is_everything(rules[-1]) and rules[-1].get("allow"):
        return [ALLOW_ALL]  # privileged
    return [*rules, *RUNTIME_RULES]


def is_everything(rule: Mapping[str, Any]) -> bool:
    """Whether the rule covers every device and every access."""
    return (
        rule.get("type", "a") in ("a", "")
        and number(rule, "major") is None
        and number(rule, "minor") is None
        and set(rule.get("access") or "rwm") == {"r", "w", "m"}
    )


def number(rule: Mapping[str, Any], key: str) -> int | None:
    """The rule's major or minor; None means any (spelled as missing, null or -1)."""
    value = rule.get(key)
    return None if value is None or value < 0 else int(value)


def parse_rule(text: str) -> Rule:
    """`c 42:* rwm` of `--device-cgroup-rule` -> rule. Raises InvalidParameter with Docker's text."""
    fields = text.split(" ")
    if len(fields) == 3 and fields[0] in ("a", "b", "c"):
        kind, numbers, access = fields
        major, colon, minor = numbers.partition(":")
        if colon and _is_number(major) and _is_number(minor) and _is_access(access):
            return _allow(
                kind,
                None if major == "*" else int(major),
                None if minor == "*" else int(minor),
                access,
            )
    raise InvalidParameter(f"invalid device cgroup rule format: '{text}'")


def _is_number(text: str) -> bool:
    return text == "*" or (text.isascii() and text.isdigit())


def _is_access(text: str) -> bool:
    return 1 <= len(text) <= 3 and set(text) <= {"r", "w", "m"}


def node_of(host_path: str, container_path: str) -> Node:
    """The OCI node that gives `host_path` (symlinks followed) to a container under `container_path`.

    Raises OSError if it is missing, InvalidParameter if it is not a device.
    """
    found = os.stat(host_path)
    if stat.S_ISCHR(found.st_mode):
        kind = "c"
    elif stat.S_ISBLK(found.st_mode):
        kind = "b"
    else:
        raise InvalidParameter(_NOT_A_DEVICE.format(host_path))
    return {
        "path": container_path,
        "type": kind,
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def rule_of(node: Mapping[str, Any], access: str) -> Rule:
    """The rule that lets a container use `node` with `access` (a subset of rwm)."""
    return _allow(node["type"], node["major"], node["minor"], access)


def nodes_below(host_path: str, container_path: str) -> list[Node]:
    """Nodes for `--device host:container`: the device itself, or every device in that directory."""
    if not os.path.isdir(host_path):
        return [node_of(host_path, container_path)]
    prefix = len(host_path.rstrip("/"))
    nodes = [node_of(path, container_path.rstrip("/") + path[prefix:]) for path in _devices_in(host_path)]
    if not nodes:
        raise InvalidParameter(_NOT_A_DEVICE.format(host_path))
    return nodes


def host_devices() -> list[Node]:
    """Every device node below /dev, for privileged containers (/dev/console stays the container's own)."""
    return [node_of(path, path) for path in _devices_in("/dev") if path != "/dev/console"]


def _devices_in(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _NOT_HOST_DEVICES:
                    yield from _devices_in(entry.path)
            elif _is_device(entry):
                yield entry.path


def _is_device(entry: os.DirEntry[str]) -> bool:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return False  # gone since it was listed
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def make_node(node: Mapping[str, Any], *, name: str, dir_fd: int) -> None:
    """mknod(2) `node` as `name` in an open directory, with its mode and owner whatever the umask is.

    Types: c, u (character), b (block), p (fifo). Raises OSError (EPERM inside a user namespace,
    where the caller binds the host's node instead).
    """
    kind = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}[node["type"]]
    mode = node.get("fileMode")
    permissions = 0o666 if mode is None else mode & 0o7777
    os.mknod(name, kind | permissions, os.makedev(node.get("major", 0), node.get("minor", 0)), dir_fd=dir_fd)
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        path = f"/proc/self/fd/{handle}"
        os.chown(path, node.get("uid") or 0, node.get("gid") or 0)
        os.chmod(path, permissions)
    finally:
        os.close(handle)
