"""The layer below every image: what a container is mounted on, so that no container has to make it itself.

/proc, /dev, /sys and the files that an engine writes for each container are mount points. An image that lacks
one would cost every container of it a file in its upperdir, a copy of /etc's directory with it, and the
deletion of both: file systems are slow at that. As the lowest layer these are there unless the image has
something else, and are nobody's changes. Docker's "init layer" holds the same names.
"""

from __future__ import annotations

import os

_DIRECTORIES = ("dev", "etc", "proc", "sys")
_FILES = (".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf")
_LINKS = (("/proc/mounts", "etc/mtab"),)


def make_underlay(path: str) -> str:
    """Complete the directory `path`, readable by everybody; returns it. Raises OSError.

    On the layers' file system: overlayfs shows one device number only if all layers are on the same.
    """
    old = os.umask(0)
    try:
        for name in ("", *_DIRECTORIES):
            os.makedirs(os.path.join(path, name), 0o755, exist_ok=True)
        for name in _FILES:
            mode = 0o755 if name == ".dockerenv" else 0o644
            os.close(os.open(os.path.join(path, name), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, mode))
        for target, name in _LINKS:
            if not os.path.islink(os.path.join(path, name)):
                os.symlink(target, os.path.join(path, name))
    finally:
        os.umask(old)
    return path
