"""Dumps on their way: `.<name>` beside the checkpoints, until criu has written all of it.

criu is not ended with the engine: processes that it has stopped half-way would be lost. It holds the
directory's lock, so that a new engine knows when it is done; then there is a checkpoint, or nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil

_CHECK_S = 0.1
_SUCCEEDED = "stats-dump"  # criu writes it last, and only then


def unfinished(target: str) -> str:
    """Where the checkpoint `target` is made."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name}")


def begin(target: str) -> int:
    """Make the empty directory; returns its lock, for criu to inherit. Raises OSError."""
    path = unfinished(target)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path, 0o700)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def left(folder: str) -> list[str]:
    """Checkpoints in a folder that an earlier engine has begun, by their target."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [os.path.join(folder, name[1:]) for name in names if name.startswith(".")]


async def settle(target: str) -> None:
    """When criu is done: a checkpoint if it has succeeded, nothing if not."""
    path = unfinished(target)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_CHECK_S)
        if os.path.exists(f"{path}/{_SUCCEEDED}") and not os.path.exists(target):
            os.rename(path, target)
        else:
            await asyncio.to_thread(shutil.rmtree, path)
    finally:
        os.close(fd)
