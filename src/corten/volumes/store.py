"""Making, finding and removing volumes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Protocol

import msgspec

from corten.errors import Conflict, InvalidParameter, NotFound, NotSupported
from corten.ids import new_id
from corten.metadata import Ledger

DRIVER = "local"
_NAME_MAX = 255
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


class Trash(Protocol):
    """Where directories go that may take long to delete."""

    def discard(self, path: str) -> None:
        """Take `path` (below <root>) away at once; its contents go when somebody has time."""


class NoSuchVolume(NotFound):
    """No volume has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"get {name}: no such volume")
        self.name = name


class _Document(msgspec.Struct, omit_defaults=True):
    """The ledger's `document` of a volume."""

    labels: dict[str, str] = {}
    anonymous: bool = False


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume; `mountpoint` is the directory that containers see."""

    name: str
    mountpoint: str
    created_ns: int
    labels: Mapping[str, str]
    anonymous: bool


class VolumeStore:
    """The local driver. Plain calls, microseconds each: a directory and a row."""

    def __init__(self, root: str, ledger: Ledger, trash: Trash) -> None:
        """root: <root>/volumes, made if missing."""
        self._root = root
        self._ledger = ledger
        self._trash = trash
        os.makedirs(root, mode=0o701, exist_ok=True)

    def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume, or give back the one of that name; "" invents one (anonymous).

        Raises InvalidParameter for a bad name, NotSupported for other drivers or options.
        """
        if driver not in ("", DRIVER):
            raise NotSupported(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
        if options:
            raise NotSupported("options of the local volume driver are not supported yet")
        if name and (existing := self.find(name)) is not None:
            return existing
        document = _Document(labels=dict(labels or {}), anonymous=not name)
        name = _checked_name(name) if name else new_id()
        created_ns = time.time_ns()
        self._ledger.execute(
            "INSERT INTO volumes (name, driver, created_ns, document) VALUES (?, ?, ?, ?)",
            (name, DRIVER, created_ns, msgspec.json.encode(document)),
        )
        os.makedirs(self._mountpoint(name), mode=0o755, exist_ok=True)
        return self._volume(name, created_ns, document)

    def find(self, name: str) -> Volume | None:
        """The volume of that name, or None."""
        row = self._ledger.query_one("SELECT created_ns, document FROM volumes WHERE name = ?", (name,))
        if row is None:
            return None
        return self._volume(name, row["created_ns"], msgspec.json.decode(row["document"], type=_Document))

    def get(self, name: str) -> Volume:
        """The volume of that name. Raises NoSuchVolume."""
        found = self.find(name)
        if found is None:
            raise NoSuchVolume(name)
        return found

    def all(self) -> list[Volume]:
        """All volumes, by name."""
        rows = self._ledger.query("SELECT name, created_ns, document FROM volumes ORDER BY name")
        return [
            self._volume(row["name"], row["created_ns"], msgspec.json.decode(row["document"], type=_Document))
            for row in rows
        ]

    def users(self, name: str) -> list[str]:
        """Ids of the containers that have the volume."""
        rows = self._ledger.query("SELECT container_id FROM volume_users WHERE volume = ?", (name,))
        return [row["container_id"] for row in rows]

    def use(self, name: str, container_id: str) -> None:
        """Note that a container (with a row of its own) has the volume; ends with the container's row."""
        self._ledger.execute(
            "INSERT OR IGNORE INTO volume_users (volume, container_id) VALUES (?, ?)", (name, container_id)
        )

    def remove(self, name: str) -> None:
        """Delete a volume and its data. Raises NoSuchVolume, Conflict while containers have it."""
        self.get(name)
        if users := self.users(name):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self._ledger.execute("DELETE FROM volumes WHERE name = ?", (name,))
        self._trash.discard(os.path.join(self._root, name))

    def sweep(self) -> list[str]:
        """Discard directories that no row knows (a crash between directory and row); returns their names."""
        known = {row["name"] for row in self._ledger.query("SELECT name FROM volumes")}
        orphans = [name for name in os.listdir(self._root) if name not in known]
        for name in orphans:
            self._trash.discard(os.path.join(self._root, name))
        return orphans

    def _mountpoint(self, name: str) -> str:
        return os.path.join(self._root, name, "_data")

    def _volume(self, name: str, created_ns: int, document: _Document) -> Volume:
        return Volume(
            name=name,
            mountpoint=self._mountpoint(name),
            created_ns=created_ns,
            labels=document.labels,
            anonymous=document.anonymous,
        )


def _checked_name(name: str) -> str:
    if len(name) == 1:
        raise InvalidParameter(
            "volume name is too short, names should be at least two alphanumeric characters"
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
