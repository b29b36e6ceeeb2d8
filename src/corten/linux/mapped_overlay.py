"""Overlays whose layers are id-mapped (Linux 5.19): a user namespace's view of directories with plain ids.

Nothing is copied or chowned, and what is written lands in the upperdir with the ids that it has inside.
"""

from __future__ import annotations

import ctypes
import os

from corten.linux import mounts as m
from corten.linux.capabilities import get_capabilities, set_capabilities
from corten.linux.idmap import mapped_tree
from corten.linux.syscalls import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_setfsuid = libc.setfsuid
_setfsuid.argtypes = [ctypes.c_uint]
_setfsgid = libc.setfsgid
_setfsgid.argtypes = [ctypes.c_uint]


class FilesystemIds:
    """Touch files as somebody else for a while, with all our capabilities. We are root."""

    __slots__ = ("_gid", "_uid")

    def __init__(self, uid: int, gid: int) -> None:
        self._uid, self._gid = uid, gid

    def __enter__(self) -> None:
        effective, permitted, inheritable = get_capabilities()
        _setfsgid(self._gid)
        _setfsuid(self._uid)  # takes those away that concern files
        set_capabilities(effective, permitted, inheritable)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _setfsuid(0)
        _setfsgid(0)


def open_mapped_overlay(
    lower: list[str],
    mountpoint: str,
    *,
    userns_fd: int,
    root: tuple[int, int],
    upper: str = "",
    work: str = "",
    volatile: bool = False,
) -> int:
    """A detached overlay of these layers (uppermost first), with the ids of a user namespace.

    Call it as root, in a mount namespace of one's own: `mountpoint` is covered and stays so. root: uid and
    gid outside of the user namespace's root, as which overlayfs works: our own could not be written on the
    id-mapped layers. upper and work lie in one mount; without them the overlay is read-only.
    Raises OSError.
    """
    m.mount("tmpfs", mountpoint, "tmpfs", m.MS_NOSUID | m.MS_NODEV, "mode=755")
    # overlayfs takes its layers by path, and before Linux 6.15 none that is mounted nowhere.
    sources = list(dict.fromkeys(lower))
    paths = [_show(source, f"{mountpoint}/{place}", userns_fd) for place, source in enumerate(sources)]
    if not upper and len(paths) == 1:
        # overlayfs wants two. The layer itself would not do: "ro" of a mount is its owner's to take back.
        nothing = f"{mountpoint}/nothing"
        os.mkdir(nothing)
        paths.append(nothing)
    data = f"lowerdir={':'.join(paths)}"
    if upper:
        common = os.path.commonpath([upper, work])
        own = _show(common, f"{mountpoint}/own", userns_fd)
        data += (
            f",upperdir={own}/{os.path.relpath(upper, common)},workdir={own}/{os.path.relpath(work, common)}"
        )
    if upper and volatile:
        data += ",volatile"
    merged = f"{mountpoint}/merged"
    os.mkdir(merged)
    with FilesystemIds(*root):
        m.mount("overlay", merged, "overlay", 0, data)
    return m.open_tree(m.AT_FDCWD, merged, m.OPEN_TREE_CLONE)


def _show(source: str, path: str, userns_fd: int) -> str:
    os.mkdir(path)
    tree = mapped_tree(source, userns_fd)
    target = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    m.move_mount(tree, target)
    os.close(target)
    os.close(tree)
    return path
