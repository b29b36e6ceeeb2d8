"""`--storage-opt size=...`: what a container may write into its own file system, by project quota.

The project stands in the container's record before the kernel hears of it, and the kernel forgets it before
the row goes: after a crash anywhere `restore` puts right what there is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from corten.engine.containers.container import Container
from corten.engine.containers.store import ContainerStore
from corten.errors import InternalError, InvalidParameter, NotSupported
from corten.snapshots import uppers
from corten.units import parse_binary_size
from corten.volumes.quota import Projects

log = logging.getLogger(__name__)


class DiskLimits:
    """Of one engine's containers."""

    def __init__(self, store: ContainerStore, directory: str) -> None:
        """directory: <root>/containers."""
        self._store = store
        self._directory = directory
        self._projects = Projects(directory)

    def choose(self, options: Mapping[str, str]) -> int:
        """The project for a new container with these options. Raises InvalidParameter, NotSupported."""
        parse_limit(options)
        taken = {each.record.project for each in self._store.all()}
        try:
            project = self._projects.choose(taken)
        except OSError as e:
            raise InternalError(f"failed to ask for project quotas: {e}") from e
        if not project:
            raise NotSupported(
                f"--storage-opt size needs project quotas on the file system of {self._directory} "
                "(ext4 or xfs, mounted with prjquota)"
            )
        return project

    def apply(self, container: Container) -> None:
        """Have its directories limited. Raises InternalError."""
        try:
            self._apply(container)
        except OSError as e:
            raise InternalError(f"failed to limit the container's disk space: {e}") from e

    def restore(self) -> None:
        """After a start: whatever a crash has left undone."""
        for container in self._store.all():
            if container.record.project:
                try:
                    self._apply(container)
                except OSError as e:
                    log.warning("no disk limit", extra={"container": container.id, "reason": str(e)})

    def _apply(self, container: Container) -> None:
        size_bytes = parse_limit(container.record.host_config.storage_opt or {})
        directories = uppers.of(container.directory)
        for directory in (directories.upper, directories.work):  # files are renamed from one to the other
            self._projects.limit(directory, container.record.project, size_bytes)

    def release(self, container: Container) -> None:
        """Its container goes; what it has written is counted until it is deleted."""
        try:
            self._projects.release(container.record.project)
        except OSError as e:
            log.warning("disk limit not removed", extra={"container": container.id, "reason": str(e)})


def parse_limit(options: Mapping[str, str]) -> int:
    """Bytes. Raises InvalidParameter."""
    for name, value in options.items():
        if name.lower() != "size":
            raise InvalidParameter(f"Unknown option {name}")
        try:
            size_bytes = parse_binary_size(value)
        except ValueError as e:
            raise InvalidParameter(str(e)) from e
        if size_bytes <= 0:
            raise InvalidParameter(f"invalid size: '{value}'")
        return size_bytes
    raise InvalidParameter("--storage-opt needs size=BYTES")
