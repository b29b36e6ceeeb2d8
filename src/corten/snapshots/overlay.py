"""Mounting layers for one worker process, seen by nobody else."""

from __future__ import annotations

import os
from collections.abc import Sequence

from corten.linux import mounts
from corten.linux.namespaces import CLONE_NEWNS, unshare

_OPTIONS_MAX = 4000  # mount(2) takes one page


def enter_private_mounts() -> None:
    """Leave the engine's mount namespace; what is mounted from now on ends with this process."""
    unshare(CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)


def open_overlay(
    lower: Sequence[str], mountpoint: str, *, upper: str = "", work: str = "", volatile: bool = True
) -> int:
    """Mount layers (uppermost first) and return an fd of the merged root. Read-only without `upper`.

    Several mounts may be stacked on one mountpoint: each is reached by its fd alone. Needs
    `enter_private_mounts`. volatile: nothing is synced, and `work` serves this once: for what a crash
    loses anyway.
    """
    if not upper and len(lower) == 1:
        return os.open(lower[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    options: list[tuple[str, str | None]] = [("upperdir", upper), ("workdir", work)] if upper else []
    if upper and volatile:
        options.append(("volatile", None))
    data = ",".join(
        [
            f"lowerdir={':'.join(lower)}",
            *(key if value is None else f"{key}={value}" for key, value in options),
        ]
    )
    if len(data) > _OPTIONS_MAX:
        # fsconfig(2) takes each layer by itself (Linux 6.5).
        fd = mounts.fsmount("overlay", [*(("lowerdir+", path) for path in lower), *options])
    else:
        mounts.mount("overlay", mountpoint, "overlay", 0, data)
        fd = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return fd
