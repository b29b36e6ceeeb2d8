"""Making, finding and removing volumes: the ledger's rows, and the drivers behind them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from corten.errors import Conflict, InternalError, InvalidParameter
from corten.ids import new_id
from corten.metadata import Ledger
from corten.volumes import copyup
from corten.volumes.local import LocalDriver, Trash, check_options
from corten.volumes.rows import Document, Row, VolumeRows
from corten.volumes.volume import (
    ANONYMOUS,
    LOCAL,
    Driver,
    NoSuchDriver,
    NoSuchVolume,
    Volume,
    check_name,
)

__all__ = ["NoSuchVolume", "Trash", "Volume", "VolumeStore"]

log = logging.getLogger(__name__)

EventSink = Callable[[str, str, dict[str, str]], None]


class VolumeStore:
    """Rows and directories: microseconds each. `mount` and `unmount` may block; so do plugins."""

    def __init__(
        self,
        root: str,
        ledger: Ledger,
        trash: Trash,
        on_event: EventSink = lambda action, name, attributes: None,
        owner: tuple[int, int] = (0, 0),
    ) -> None:
        """root: <root>/volumes. on_event(action, name, attributes): create, destroy.

        owner: uid and gid of new local volumes.
        """
        self.local = LocalDriver(root, trash, owner)
        self.rows = VolumeRows(ledger)
        self._on_event = on_event
        self._drivers: dict[str, Driver] = {LOCAL: self.local}

    def driver(self, name: str) -> Driver:
        """A driver that is known; "" is the local one. Raises NoSuchDriver."""
        found = self._drivers.get(name or LOCAL)
        if found is None:
            raise NoSuchDriver(name)
        return found

    def add_driver(self, driver: Driver) -> None:
        """A plugin has been found."""
        self._drivers[driver.name] = driver

    def has_driver(self, name: str) -> bool:
        """Whether `driver` would find it."""
        return name in self._drivers

    def drivers(self) -> list[Driver]:
        """All that are known."""
        return list(self._drivers.values())

    def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a local volume, or give back the one of that name; "" invents one (anonymous). See `plan`."""
        volume = self.plan(name, driver=driver, options=options, labels=labels)
        return volume if self.find(volume.name) is not None else self.add(volume)

    def plan(
        self,
        name: str = "",
        *,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """The volume that there is, or that would be made; `add` makes it.

        Raises InvalidParameter for a bad name or option, NoSuchDriver, Conflict if another driver has it.
        """
        if name and (existing := self.find(name)) is not None:
            if driver and driver != existing.driver:
                self._checked_driver(name, driver)
                raise Conflict(
                    f"create {name}: conflict: driver '{existing.driver}' already has volume '{name}': "
                    "volume name must be unique"
                )
            return existing
        maker = self._checked_driver(name, driver)
        document = Document(labels=dict(labels or {}), options=dict(options or {}))
        if not name:
            name = new_id()
            document.labels[ANONYMOUS] = ""
        if maker is self.local:
            check_name(name)
            check_options(name, document.options)
            taken = self._projects(document.options)
            document.project = self.local.choose_project(name, document.options, taken)
        return self._volume(Row(name, maker.name, time.time_ns(), document))

    def add(self, volume: Volume) -> Volume:
        """It exists from now on: a row, and if it is local a directory. A plugin has made its own before."""
        self.rows.add(volume)
        if self.is_local(volume):
            try:
                self.local.create(volume)
            except OSError as e:
                self.local.release(volume)
                self.rows.drop(volume.name)
                self.local.remove(volume)
                raise InternalError(f"create {volume.name}: {(e.strerror or str(e)).lower()}") from e
        self.announce("create", volume)
        return volume

    def _projects(self, options: Mapping[str, str]) -> set[int]:
        """The projects that volumes have, if one with these options is to get another."""
        return {volume.project for volume in self.all()} if "size" in options else set()

    def _checked_driver(self, name: str, driver: str) -> Driver:
        try:
            return self.driver(driver)
        except NoSuchDriver:
            raise NoSuchDriver(driver, volume=name) from None

    def find(self, name: str) -> Volume | None:
        """The volume of that name, or None."""
        row = self.rows.find(name)
        return None if row is None else self._volume(row)

    def get(self, name: str) -> Volume:
        """The volume of that name. Raises NoSuchVolume."""
        found = self.find(name)
        if found is None:
            raise NoSuchVolume(name)
        return found

    def all(self) -> list[Volume]:
        """All volumes, by name."""
        return [self._volume(row) for row in self.rows.all()]

    def check_new(self, name: str) -> None:
        """Raise InvalidParameter if no local volume can have the name, Conflict if one has it."""
        check_name(name)
        if self.find(name) is not None:
            raise Conflict(f"create {name}: a volume of this name exists already")

    def adopt(
        self, name: str, folder: str, labels: Mapping[str, str], options: Mapping[str, str] | None = None
    ) -> Volume:
        """Make a volume of a directory of ours (with a `_data` in it), in one move."""
        document = Document(labels=dict(labels), options=dict(options or {}))
        volume = self._volume(Row(name, LOCAL, time.time_ns(), document))
        self.local.take(name, folder)  # without a row it is swept: after a crash there is nothing
        self.rows.add(volume)
        self.announce("create", volume)
        return volume

    def rename(self, volume: Volume, to: str) -> None:
        """Give an unused local volume another name. `sweep` ends what a crash cuts short."""
        document = Document.of(volume)
        document.former = volume.name
        self.rows.write(volume.name, document, rename_to=to)
        self.local.rename(volume.name, to)
        document.former = ""
        self.rows.write(to, document)
        self._on_event("rename", to, {"driver": volume.driver, "oldName": volume.name})

    def set_size(self, volume: Volume, size: str) -> Volume:
        """Note another size of a local volume, which `limit` then puts into force.

        Raises InvalidParameter if it was made without, or `size` is none, Conflict if it cannot be so small.
        """
        if not self.is_local(volume) or "size" not in volume.options:
            raise InvalidParameter(f"update {volume.name}: a volume that was made without a size gets none")
        self.local.check_resize(volume, size)
        document = Document.of(volume)
        document.options["size"] = size
        self.rows.write(volume.name, document)
        return self.get(volume.name)

    def limit(self, volume: Volume) -> None:
        """Keep a local volume to its size. Raises OSError. Blocks."""
        self.local.limit(volume)

    def check_unused(self, name: str) -> None:
        """Raise Conflict while containers have the volume."""
        if users := self.rows.users(name):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")

    def remove(self, name: str) -> None:
        """Delete a volume and its data. Raises NoSuchVolume, Conflict while containers have it."""
        volume = self.get(name)
        self.check_unused(name)
        driver = self.driver(volume.driver)
        if self.is_local(volume):
            self.local.release(volume)
        self.rows.drop(volume.name)
        driver.remove(volume)
        self.announce("destroy", volume)

    def is_local(self, volume: Volume) -> bool:
        """Whether it lives in a directory of ours."""
        return volume.driver == LOCAL

    def announce(self, action: str, volume: Volume) -> None:
        """An event of the volume: create, destroy."""
        self._on_event(action, volume.name, {"driver": volume.driver})

    def needs_mount(self, volume: Volume) -> bool:
        """Whether it has to be held while it is used; most are plain directories."""
        return self.driver(volume.driver).needs_mount(volume)

    def mount(self, volume: Volume) -> str:
        """At the first use; returns the directory. Blocks."""
        return self.driver(volume.driver).mount(volume)

    def is_dead(self, volume: Volume) -> bool:
        """Whether it is mounted, but nobody serves it any more. Blocks."""
        return self.is_local(volume) and self.local.is_dead(volume)

    def unmount(self, volume: Volume) -> None:
        """At the last use. Blocks."""
        self.driver(volume.driver).unmount(volume)

    def sweep(self) -> list[str]:
        """Discard directories that no row knows, finish interrupted copy-ups; returns what was discarded."""
        self._end_renames()
        volumes = [volume for volume in self.all() if volume.driver == LOCAL]
        for volume in volumes:
            if "size" in volume.options:
                self._limit_again(volume)
            if not self.local.needs_mount(volume):
                _recover(volume)
        return self.local.sweep({volume.name for volume in volumes})

    def _limit_again(self, volume: Volume) -> None:
        """A crash may have come between the row and the kernel, or somebody has made the quotas anew."""
        try:
            if volume.project:
                self.local.create(volume)
            else:
                self.local.limit(volume)
        except OSError as e:
            log.warning("volume is not limited", extra={"volume": volume.name, "reason": str(e)})

    def _end_renames(self) -> None:
        for name, _, _, document in self.rows.all():
            if document.former:
                self.local.rename(document.former, name)
                document.former = ""
                self.rows.write(name, document)

    def _volume(self, row: Row) -> Volume:
        name, driver, created_ns, document = row
        known = self._drivers.get(driver)
        return Volume(
            name=name,
            driver=driver,
            scope=known.scope if known else "local",
            mountpoint=known.path(name) if known else "",
            created_ns=created_ns,
            labels=document.labels,
            options=document.options,
            status=_status(document),
            project=document.project,
        )


def _status(document: Document) -> dict[str, object]:
    """By what a volume of limited size is limited."""
    if "size" not in document.options:
        return {}
    return {"Limit": f"project quota {document.project}" if document.project else "image"}


def _recover(volume: Volume) -> None:
    try:
        copyup.recover(volume.mountpoint)
    except OSError as e:  # a container's doing: it must not keep the engine from starting
        log.warning("interrupted copy-up left as it is", extra={"volume": volume.name, "reason": str(e)})
