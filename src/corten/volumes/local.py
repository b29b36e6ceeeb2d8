"""The `local` driver: a directory, or what the options say is to be mounted on it.

Options as Docker's: `type`, `device` and `o` are those of mount(8), or `size` is its limit (`quota` where the
file system counts projects, else `image`), or `encrypt` says where its key is (`encrypted`).
A bind's device is taken by open_tree(2), so what was looked at is what is mounted. Source: Docker's reference
of `volume create`.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Container, Mapping
from typing import Protocol

from corten.errors import InternalError, InvalidParameter
from corten.linux import mounts as m
from corten.linux.mountinfo import mounts_below, read_mounts
from corten.task.mount_options import MountOptions
from corten.volumes.encrypted import CIPHER, check_encryption, is_dead, mount_encrypted
from corten.volumes.image import IMAGE, check_growth, check_program, grow_mounted, mount_image
from corten.volumes.quota import Projects
from corten.volumes.size import parse_size, size_of
from corten.volumes.volume import LOCAL, Volume

log = logging.getLogger(__name__)

_MOUNT_KEYS = ("type", "o", "device")
_ALONE = ("size", "encrypt")
_KEYS = frozenset((*_MOUNT_KEYS, *_ALONE))
_NETWORKED = frozenset({"nfs", "nfs4", "cifs", "smb3"})


class Trash(Protocol):
    """Where directories go that may take long to delete."""

    def discard(self, path: str) -> None:
        """Take `path` (below <root>) away at once; its contents go when somebody has time."""


class LocalDriver:
    """Implements `corten.volumes.volume.Driver` over <root>/volumes."""

    name = LOCAL
    scope = "local"

    def __init__(self, root: str, trash: Trash, owner: tuple[int, int] = (0, 0)) -> None:
        """root: <root>/volumes, made if missing. owner: uid and gid of new volumes."""
        self._root = root
        self._owner = owner
        self._trash = trash
        self._projects = Projects(root)
        os.makedirs(root, mode=0o701, exist_ok=True)

    def choose_project(self, name: str, options: Mapping[str, str], taken: Container[int]) -> int:
        """The project for a new volume: 0 if it needs none, or there are no project quotas here.

        Raises NotSupported if it cannot be limited otherwise, OSError.
        """
        if "size" not in options:
            return 0
        project = self._projects.choose(taken)
        if not project:
            check_program(name)
        return project

    def create(self, volume: Volume) -> None:
        path = self.path(volume.name)
        os.makedirs(path, mode=0o755, exist_ok=True)
        if self._owner != (0, 0):
            os.chown(path, *self._owner)
        self.limit(volume)

    def limit(self, volume: Volume) -> None:
        """Keep it to its size, also if that is another than before. Raises OSError.

        That of an image takes effect at once while it is mounted, else when it is.
        """
        if volume.project:
            self._projects.limit(self.path(volume.name), volume.project, size_of(volume))
        elif "size" in volume.options and self._is_mounted(volume.name):
            grow_mounted(os.path.join(self._root, volume.name), self.path(volume.name), size_of(volume))

    def check_resize(self, volume: Volume, size: str) -> None:
        """Raise InvalidParameter for what is no size, Conflict if it cannot become so small."""
        size_bytes = parse_size(f"update {volume.name}", size)
        if not volume.project:
            check_growth(os.path.join(self._root, volume.name), volume.name, size_bytes)

    def remove(self, volume: Volume) -> None:
        if self.needs_mount(volume):
            self.unmount_all(volume.name)
        self._trash.discard(os.path.join(self._root, volume.name))

    def release(self, volume: Volume) -> None:
        """Give its project back, before its row goes: a limited one that nobody knows would stay for ever."""
        if volume.project:
            try:
                self._projects.release(volume.project)
            except OSError as e:  # somebody has switched quotas off
                log.warning("limit not removed", extra={"volume": volume.name, "reason": str(e)})

    def take(self, name: str, folder: str) -> None:
        """Make a volume of a directory elsewhere in <root> that has a `_data`."""
        os.rename(folder, os.path.join(self._root, name))

    def rename(self, name: str, to: str) -> None:
        """Move its directory; that it was moved already is fine."""
        try:
            os.rename(os.path.join(self._root, name), os.path.join(self._root, to))
        except FileNotFoundError:
            return

    def path(self, name: str) -> str:
        return os.path.join(self._root, name, "_data")

    def needs_mount(self, volume: Volume) -> bool:
        return bool(volume.options) and not volume.project

    def mount(self, volume: Volume) -> str:
        """Raises InternalError with Docker's text."""
        target, options = self.path(volume.name), volume.options
        folder = os.path.join(self._root, volume.name)
        if self._is_mounted(volume.name):  # an engine before us did it
            if not self.is_dead(volume):
                return target
            self.unmount_all(volume.name)
        try:
            if "size" in options:
                mount_image(folder, size_of(volume), target, self._owner)
            elif "encrypt" in options:
                mount_encrypted(folder, options["encrypt"], target, self._owner)
            else:
                _mount(options, target)
        except OSError as e:
            raise InternalError(
                f"error while mounting volume '{target}': failed to mount local volume: "
                f"{_described(options, target)}: {(e.strerror or str(e)).lower()}"
            ) from e
        return target

    def unmount(self, volume: Volume) -> None:
        self.unmount_all(volume.name)

    def unmount_all(self, name: str) -> None:
        """Whatever is mounted on the directory of that name."""
        while True:  # until nothing is left there: below may be what must not be deleted
            try:
                m.umount2(self.path(name), m.MNT_DETACH)
            except OSError as e:
                if e.errno not in (errno.EINVAL, errno.ENOENT):
                    raise
                return

    def is_dead(self, volume: Volume) -> bool:
        """Whether it is mounted, but the process behind it has ended: `mount` makes that good."""
        return "encrypt" in volume.options and is_dead(self.path(volume.name))

    def stored(self, volume: Volume) -> str:
        """What of ours holds its contents, a file or a directory; "" if they are elsewhere."""
        if not self.needs_mount(volume):
            return self.path(volume.name)
        own = IMAGE if "size" in volume.options else CIPHER if "encrypt" in volume.options else ""
        return own and os.path.join(self._root, volume.name, own)

    def counted(self, volume: Volume) -> int | None:
        """Bytes that the kernel has counted; None if it does not count this volume."""
        try:
            return self._projects.used(volume.project) if volume.project else None
        except OSError:  # somebody has switched quotas off
            return None

    def _is_mounted(self, name: str) -> bool:
        """os.path.ismount does not know of binds within one file system."""
        return os.path.realpath(self.path(name)) in (entry.path for entry in read_mounts())

    def mounted(self) -> set[str]:
        """Names of the volumes that are mounted now, whoever did it."""
        found = set()
        root = os.path.realpath(self._root)
        for path in mounts_below(root):
            name, _, rest = path[len(root) + 1 :].partition("/")
            if rest == "_data":
                found.add(name)
        return found

    def sweep(self, known: set[str]) -> list[str]:
        """Discard directories that no row knows (a crash between row and directory); returns their names."""
        orphans = [name for name in os.listdir(self._root) if name not in known]
        for name in orphans:
            self.unmount_all(name)
            self._trash.discard(os.path.join(self._root, name))
        return orphans


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raise InvalidParameter for what the driver does not know, or lacks."""
    for key in options:
        if key not in _KEYS:
            raise InvalidParameter(f'create {name}: invalid option: "{key}"')
    for key in _ALONE:
        if key in options and len(options) > 1:
            others = ", ".join(other for other in (*_ALONE, *_MOUNT_KEYS) if other != key)
            raise InvalidParameter(f"create {name}: {key} cannot be combined with {others}")
    if "size" in options:
        parse_size(f"create {name}", options["size"])
        return
    if "encrypt" in options:
        check_encryption(name, options["encrypt"])
        return
    if not options:
        return
    for key in ("device", "type"):
        if not options.get(key):
            raise InvalidParameter(f'create {name}: missing required option: "{key}"')


def _mount(options: Mapping[str, str], target: str) -> None:
    device, fstype = options["device"], options["type"]
    words = MountOptions([word for word in options.get("o", "").split(",") if word])
    if words.flags & m.MS_BIND or fstype == "bind":
        _bind(device, words, target)
        return
    data = _resolved(fstype, device, words.data)
    m.mount_slowly(device, target, fstype, words.flags, data or None)
    for flags in words.propagation:
        m.mount(None, target, None, flags)


def _bind(device: str, words: MountOptions, target: str) -> None:
    recursive = m.AT_RECURSIVE if words.flags & m.MS_REC else 0
    tree = m.open_tree(m.AT_FDCWD, device, m.OPEN_TREE_CLONE | recursive)
    try:
        attributes = words.attributes()
        if attributes:
            m.mount_setattr(tree, set_flags=attributes)
        for flags in words.propagation:
            m.mount_setattr(tree, propagation=flags & ~m.MS_REC, recursive=bool(flags & m.MS_REC))
        into = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            m.move_mount(tree, into)
        finally:
            os.close(into)
    finally:
        os.close(tree)


def _resolved(fstype: str, device: str, data: str) -> str:
    """`data` with the numbers of the servers named in it: the kernel knows no names."""
    if fstype not in _NETWORKED:
        return data
    words = data.split(",") if data else []
    for index, word in enumerate(words):
        if word.startswith("addr="):
            words[index] = f"addr={_address(word[5:])}"
            return ",".join(words)
    if fstype in ("cifs", "smb3") and device.startswith("//"):
        host = device[2:].partition("/")[0]
        return ",".join([*words, f"ip={_address(host)}"])
    return data


def _address(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as e:
        raise OSError(errno.EHOSTUNREACH, f"error resolving passed in network volume address: {e}") from e
    return str(found[0][4][0])


def _described(options: Mapping[str, str], target: str) -> str:
    """As Docker shows the mount that failed (passwords left out)."""
    if "size" in options:
        return f"mount {IMAGE}:{target}"
    if "encrypt" in options:
        return f"mount {CIPHER}:{target}"
    words = MountOptions([word for word in options.get("o", "").split(",") if word])
    text = f"mount {options['device']}:{target}"
    if words.flags:
        text += f", flags: {words.flags:#x}"
    if words.data:
        shown = (w if not w.startswith("password=") else "password=****" for w in words.data.split(","))
        text += f", data: {','.join(shown)}"
    return text
