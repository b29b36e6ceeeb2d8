"""`-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's VOLUMEs → mount records.

Source: Docker's reference for `docker run`; texts of dockerd 26.1. Precedence as there: volumes-from, binds,
mounts; then image volumes and tmpfs where nothing else is mounted.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from corten.engine.containers.record import MountRecord
from corten.errors import InvalidParameter, NoSuchContainer, NoSuchImage, NotSupported
from corten.reference import InvalidReference
from corten.task.mount_options import WORDS
from corten.types.container import ContainerConfig, HostConfig, Mount, VolumeDriverConfig, VolumeOptions
from corten.volumes.store import Volume

_PROPAGATION = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_ID_MAPPED = "map"  # ours
_IGNORED_MODES = frozenset({"", "z", "Z", "consistent", "cached", "delegated"})  # SELinux, Docker Desktop
# Source: Documentation/filesystems/tmpfs.rst; Docker knows fewer.
_TMPFS_VALUES = frozenset({"size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "mpol", "huge"})
_TMPFS_WORDS = frozenset((*WORDS, "noswap", "inode32", "inode64"))


class VolumeMaker(Protocol):
    """Who makes volumes: `corten.engine.volume_manager`."""

    async def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume, or give back the one of that name; "" invents one."""


class MountResolver:
    """Decides a container's mounts; makes the volumes they need."""

    def __init__(
        self,
        volumes: VolumeMaker,
        mounts_of: Callable[[str], Sequence[MountRecord]],
        layers_of: Callable[[str], tuple[str, list[str]]],
    ) -> None:
        """mounts_of: the records of another container, for --volumes-from. Raises NoSuchContainer.

        layers_of: id and layer directories (uppermost first) of an image. Raises NoSuchImage.
        """
        self._volumes = volumes
        self._mounts_of = mounts_of
        self._layers_of = layers_of

    async def resolve(self, config: ContainerConfig, host_config: HostConfig) -> list[MountRecord]:
        """All mounts of a new container. Raises InvalidParameter, NotSupported."""
        chosen: dict[str, MountRecord] = {}
        for entry in host_config.volumes_from or ():
            for record in self._inherited(entry):
                chosen[record.destination] = record
        inherited = set(chosen)
        async for record in self._asked_for(host_config):
            if record.destination in chosen and record.destination not in inherited:
                raise InvalidParameter(f"Duplicate mount point: {record.destination}")
            inherited.discard(record.destination)
            chosen[record.destination] = record
        for destination in config.volumes or ():
            path = _destination(destination, destination)
            if path not in chosen:
                chosen[path] = await self._volume(
                    "", path, mode="", read_only=False, copy_up=True, driver=host_config.volume_driver
                )
        return list(chosen.values())

    async def _asked_for(self, host_config: HostConfig) -> AsyncIterator[MountRecord]:
        for spec in host_config.binds or ():
            yield await self._bind(spec, host_config.volume_driver)
        for mount in host_config.mounts or ():
            yield await self._mount(mount)
        for destination, options in (host_config.tmpfs or {}).items():
            data = _tmpfs_options(option for option in options.split(",") if option)
            path = _destination(destination, destination)
            yield MountRecord(kind="tmpfs", destination=path, data=data, mode=options)

    def _inherited(self, entry: str) -> Iterable[MountRecord]:
        ref, _, mode = entry.partition(":")
        if mode not in ("", "ro", "rw", "z", "Z"):
            raise InvalidParameter(f"invalid mode: {mode}")
        try:
            records = self._mounts_of(ref)
        except NoSuchContainer as e:
            raise InvalidParameter(str(e)) from None  # as dockerd: after a 404 the CLI looks for the image
        for record in records:
            if record.kind == "tmpfs":
                continue
            # The volume belongs to the other container: it must not go with this one.
            yield msgspec.structs.replace(
                record, read_only=record.read_only or mode == "ro", anonymous=False, copy_up=False
            )

    async def _bind(self, spec: str, driver: str) -> MountRecord:
        """One -v of the form [source:]destination[:mode]."""
        parts = spec.split(":")
        if len(parts) > 3 or not all(parts[:2]):
            raise InvalidParameter(f"invalid volume specification: '{spec}'")
        source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
        destination = _destination(target, spec, "bind" if source.startswith("/") else "volume")
        mode = parts[2] if len(parts) == 3 else ""
        read_only, propagation, copy_up = _parse_mode(mode)
        id_mapped = _ID_MAPPED in mode.split(",")
        if source.startswith("/"):
            return MountRecord(
                kind="bind",
                destination=destination,
                source=os.path.normpath(source),
                mode=mode,
                read_only=read_only,
                propagation=propagation or "rprivate",
                create_source=True,
                id_mapped=id_mapped,
            )
        if propagation or id_mapped:
            raise InvalidParameter(f"invalid mode: {mode}")
        return await self._volume(
            source, destination, mode=mode or "z", read_only=read_only, copy_up=copy_up, driver=driver
        )

    async def _volume(
        self,
        name: str,
        destination: str,
        *,
        mode: str,
        read_only: bool,
        copy_up: bool,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        subpath: str = "",
    ) -> MountRecord:
        volume = await self._volumes.create(name, driver=driver, options=options, labels=labels)
        return MountRecord(
            kind="volume",
            destination=destination,
            source=volume.mountpoint,
            name=volume.name,
            driver=volume.driver,
            subpath=subpath,
            mode=mode,
            read_only=read_only,
            anonymous=not name,
            copy_up=copy_up,
        )

    async def _mount(self, mount: Mount) -> MountRecord:
        """One --mount."""
        makers = {
            "bind": self._bind_mount,
            "volume": self._volume_mount,
            "tmpfs": self._tmpfs_mount,
            "image": self._image_mount,
        }
        if mount.type not in makers:
            if mount.type in ("cluster", "npipe"):
                raise NotSupported(f'mounts of type "{mount.type}" are not supported')
            raise _bad_mount(mount, f'mount type unknown: "{mount.type}"')
        if not mount.target:
            raise _bad_mount(mount, "field Target must not be empty")
        _check_options(mount)
        if os.path.normpath(mount.target).strip("/") == "":
            raise _bad_mount(mount, "invalid specification: destination can't be '/'")
        if not mount.target.startswith("/"):
            raise _bad_mount(mount, f"invalid mount path: '{mount.target}' mount path must be absolute")
        return await makers[mount.type](mount)

    async def _bind_mount(self, mount: Mount) -> MountRecord:
        if not mount.source:
            raise _bad_mount(mount, "field Source must not be empty")
        if not mount.source.startswith("/"):
            raise _bad_mount(mount, f"invalid mount path: '{mount.source}' mount path must be absolute")
        options = mount.bind_options
        create = options is not None and options.create_mountpoint
        if not create and not os.path.exists(mount.source):
            raise _bad_mount(mount, f"bind source path does not exist: {mount.source}")
        propagation = options.propagation if options else ""
        if propagation and propagation not in _PROPAGATION:
            raise _bad_mount(mount, f"invalid propagation mode: {propagation}")
        return MountRecord(
            kind="bind",
            destination=os.path.normpath(mount.target),
            source=os.path.normpath(mount.source),
            read_only=mount.read_only,
            propagation=propagation or "rprivate",
            recursive=not (options and options.non_recursive),
            recursive_ro=not (options and options.read_only_non_recursive),
            create_source=create,
        )

    async def _volume_mount(self, mount: Mount) -> MountRecord:
        options = mount.volume_options or VolumeOptions()
        if not mount.source:
            if mount.read_only:
                raise _bad_mount(mount, "must not set ReadOnly mode when using anonymous volumes")
            if options.subpath:
                raise _bad_mount(mount, "must not set Subpath when using anonymous volumes")
        driver = options.driver_config or VolumeDriverConfig()
        return await self._volume(
            mount.source,
            os.path.normpath(mount.target),
            mode="z",
            read_only=mount.read_only,
            copy_up=not options.no_copy,
            driver=driver.name,
            options=driver.options,
            labels=options.labels,
            subpath=_subpath(mount, options.subpath, "volume"),
        )

    async def _image_mount(self, mount: Mount) -> MountRecord:
        """Read-only, whatever was asked for, as Docker's."""
        if not mount.source:
            raise _bad_mount(mount, "field Source must not be empty")
        try:
            image_id, layers = self._layers_of(mount.source)
        except (NoSuchImage, InvalidReference) as e:
            raise _bad_mount(mount, str(e)) from e
        return MountRecord(
            kind="image",
            destination=os.path.normpath(mount.target),
            name=image_id,
            data=layers,
            read_only=True,
            subpath=_subpath(mount, mount.image_options.subpath if mount.image_options else "", "image"),
        )

    async def _tmpfs_mount(self, mount: Mount) -> MountRecord:
        if mount.source:
            raise _bad_mount(mount, "field Source must not be specified")
        data, options = [], mount.tmpfs_options
        if options and options.size_bytes:
            data.append(f"size={options.size_bytes}")
        if options and options.mode:
            data.append(f"mode={options.mode:o}")
        for words in options.options or () if options else ():
            data.append("=".join(words))
        return MountRecord(
            kind="tmpfs",
            destination=os.path.normpath(mount.target),
            data=_tmpfs_options(data),
            read_only=mount.read_only,
        )


def _tmpfs_options(options: Iterable[str]) -> list[str]:
    """The options, all of which are known; what their values mean is the kernel's business."""
    known = []
    for option in options:
        name, equals, _ = option.partition("=")
        if name not in (_TMPFS_VALUES if equals else _TMPFS_WORDS):
            raise InvalidParameter(f'invalid tmpfs option "{option}"')
        known.append(option)
    return known


def _bad_mount(mount: Mount, text: str) -> InvalidParameter:
    return InvalidParameter(f'invalid mount config for type "{mount.type}": {text}')


def _check_options(mount: Mount) -> None:
    """Options of another type than the mount's own."""
    for kind in ("Bind", "Volume", "Image", "Tmpfs"):
        if kind.lower() != mount.type and getattr(mount, f"{kind.lower()}_options") is not None:
            raise InvalidParameter(f'{kind}Options must not be specified on mount type "{mount.type}"')


def _subpath(mount: Mount, path: str, what: str) -> str:
    """A path within a volume or image. What it leads to is found when the container is started."""
    clean = os.path.normpath(path) if path else ""
    if clean.startswith(("/", "../")) or clean == ".." or "\0" in clean:
        raise _bad_mount(mount, f"subpath must be a relative path within the {what}")
    return "" if clean == "." else clean


def _destination(path: str, spec: str, kind: str = "volume") -> str:
    where = f"invalid volume specification: '{spec}': invalid mount config for type \"{kind}\""
    if not path.startswith("/"):
        raise InvalidParameter(f"{where}: invalid mount path: '{path}' mount path must be absolute")
    clean = os.path.normpath(path)
    if clean.strip("/") == "":
        raise InvalidParameter(f"{where}: invalid specification: destination can't be '/'")
    return clean


def _parse_mode(mode: str) -> tuple[bool, str, bool]:
    """(read-only, propagation, copy-up) of the third part of -v."""
    read_only, propagation, copy_up = False, "", True
    seen: set[str] = set()
    for word in mode.split(","):
        if word in seen:
            raise InvalidParameter(f"invalid mode: {mode}")
        seen.add(word)
        if word in ("ro", "rw"):
            read_only = word == "ro"
        elif word in _PROPAGATION and not propagation:
            propagation = word
        elif word == "nocopy":
            copy_up = False
        elif word not in (*_IGNORED_MODES, _ID_MAPPED):
            raise InvalidParameter(f"invalid mode: {mode}")
    if {"ro", "rw"} <= seen:
        raise InvalidParameter(f"invalid mode: {mode}")
    return read_only, propagation, copy_up
