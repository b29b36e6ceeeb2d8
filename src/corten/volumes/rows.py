"""The ledger's rows of volumes: what each of them is, who has it, and which are about to go."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from corten.metadata import Ledger
from corten.volumes.volume import Volume

_COLUMNS = "name, driver, created_ns, document"


class Document(msgspec.Struct, omit_defaults=True):
    """A row's `document`."""

    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    project: int = 0  # as in Volume
    former: str = ""  # a name under which its directory may still be found: a rename was cut short
    leaving: bool = False  # goes with its container, unless somebody else has it

    @classmethod
    def of(cls, volume: Volume) -> Document:
        """What is to be kept of a volume, beside the columns."""
        return cls(labels=dict(volume.labels), options=dict(volume.options), project=volume.project)


class Row(NamedTuple):
    """A volume as the ledger has it."""

    name: str
    driver: str
    created_ns: int
    document: Document


class VolumeRows:
    """Reads and writes them: microseconds each."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._leaving: set[str] = set()  # marked so since the engine's start

    # -- volumes --------------------------------------------------------------------------------

    def find(self, name: str) -> Row | None:
        """The row of that name, or None."""
        rows = self._read("WHERE name = ?", name)
        return rows[0] if rows else None

    def all(self) -> list[Row]:
        """All rows, by name."""
        return self._read("ORDER BY name")

    def _read(self, clause: str, *values: str) -> list[Row]:
        found = self._ledger.query(f"SELECT {_COLUMNS} FROM volumes {clause}", values)  # noqa: S608
        return [
            Row(name, driver, created_ns, msgspec.json.decode(document, type=Document))
            for name, driver, created_ns, document in found
        ]

    def add(self, volume: Volume) -> None:
        """It exists from now on."""
        self._ledger.execute(
            f"INSERT INTO volumes ({_COLUMNS}) VALUES (?, ?, ?, ?)",  # noqa: S608 - a constant
            (volume.name, volume.driver, volume.created_ns, msgspec.json.encode(Document.of(volume))),
        )

    def write(self, name: str, document: Document, *, rename_to: str = "") -> None:
        """Replace a row's document, and perhaps its name."""
        self._ledger.execute(
            "UPDATE volumes SET name = ?, document = ? WHERE name = ?",
            (rename_to or name, msgspec.json.encode(document), name),
        )

    def drop(self, name: str) -> None:
        """It does not exist any more."""
        self._leaving.discard(name)
        self._ledger.execute("DELETE FROM volumes WHERE name = ?", (name,))

    # -- who has them ---------------------------------------------------------------------------

    def use(self, name: str, container_id: str) -> None:
        """Note that a container (with a row of its own) has the volume; ends with the container's row."""
        if name in self._leaving:
            self.set_leaving(name, False)
        self._ledger.execute(
            "INSERT OR IGNORE INTO volume_users (volume, container_id) VALUES (?, ?)", (name, container_id)
        )

    def users(self, name: str) -> list[str]:
        """Ids of the containers that have the volume."""
        rows = self._ledger.query("SELECT container_id FROM volume_users WHERE volume = ?", (name,))
        return [row["container_id"] for row in rows]

    # -- which are about to go ------------------------------------------------------------------

    def set_leaving(self, name: str, leaving: bool) -> None:
        """Note that it is about to be removed; who is killed meanwhile finds it in `leaving`."""
        if (row := self.find(name)) is not None:
            row.document.leaving = leaving
            self.write(name, row.document)
        (self._leaving.add if leaving else self._leaving.discard)(name)

    def leaving(self) -> list[str]:
        """Volumes whose removal was noted and has not happened."""
        return [row.name for row in self.all() if row.document.leaving]

    def begin_removal(self, volume: Volume) -> None:
        """Its plugin is about to be asked to remove it: the row goes, and `removals` tells of it instead."""
        with self._ledger.transaction():
            self.drop(volume.name)
            self._ledger.execute(
                "INSERT OR REPLACE INTO volume_removals (name, driver) VALUES (?, ?)",
                (volume.name, volume.driver),
            )

    def end_removal(self, name: str) -> None:
        """The plugin has answered."""
        self._ledger.execute("DELETE FROM volume_removals WHERE name = ?", (name,))

    def removals(self) -> list[tuple[str, str]]:
        """Name and driver of volumes of which we don't know whether their plugin has removed them."""
        return [tuple(row) for row in self._ledger.query("SELECT name, driver FROM volume_removals")]
