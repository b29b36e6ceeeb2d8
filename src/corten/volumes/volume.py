"""What a volume is, how it may be called, and the drivers' Protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import msgspec

from corten.errors import InvalidParameter, NotFound

LOCAL = "local"
ANONYMOUS = "com.docker.volume.anonymous"
"""Label of volumes that nobody named: what `prune` takes by default."""

_NAME_MAX = 255
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


class NoSuchVolume(NotFound):
    """No volume has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"get {name}: no such volume")
        self.name = name


class NoSuchDriver(NotFound):
    """No volume driver has this name."""

    def __init__(self, driver: str, *, volume: str = "") -> None:
        """volume: which one was to be made."""
        text = f'error looking up volume plugin {driver}: plugin "{driver}" not found'
        super().__init__(f"create {volume}: {text}" if volume else text)
        self.driver = driver


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume; `mountpoint` is the directory that containers see ("" while a plugin has not said).

    project: whose quota keeps it to the option `size`; 0 = none (another way does, or nothing).
    """

    name: str
    mountpoint: str
    created_ns: int
    driver: str = LOCAL
    scope: str = "local"
    labels: Mapping[str, str] = {}
    options: Mapping[str, str] = {}
    status: Mapping[str, object] = {}
    project: int = 0

    @property
    def anonymous(self) -> bool:
        """Whether nobody named it."""
        return ANONYMOUS in self.labels


class Driver(Protocol):
    """Where volumes live. Plain calls that may block; errors are kinds of `corten.errors`, or OSError."""

    name: str
    scope: str

    def create(self, volume: Volume) -> None:
        """Make it; it may exist already."""

    def remove(self, volume: Volume) -> None:
        """Delete it with its data."""

    def path(self, name: str) -> str:
        """Its directory on this machine; "" if that is only known while it is mounted."""

    def needs_mount(self, volume: Volume) -> bool:
        """Whether `mount` and `unmount` have anything to do."""

    def mount(self, volume: Volume) -> str:
        """Bring it to this machine; returns its directory. Called at the first use, again after a crash."""

    def unmount(self, volume: Volume) -> None:
        """The last use has ended."""


def check_name(name: str) -> str:
    """`name` if the local driver can have it. Raises InvalidParameter."""
    if len(name) == 1:
        raise InvalidParameter(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if len(name) > _NAME_MAX:  # it names a directory
        raise InvalidParameter(f"volume name is too long, names have at most {_NAME_MAX} characters")
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path"
        )
    return name
