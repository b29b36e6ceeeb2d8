"""Copying a volume, for worker processes (signature: see `corten.snapshots.workers.nursery`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

from corten.linux.syncfs import syncfs
from corten.volumes.tree import TreeCopy

Params: TypeAlias = "dict[str, Any]"
Report: TypeAlias = Callable[[Params], None]


def copy_tree(params: Params, fds: list[int], report: Report) -> Params:
    """fds: source and destination, directories. Copies all, sharing contents where the file system can.

    Progress, once: everything has been read. Then it is brought to the disk.
    """
    os.umask(0)
    TreeCopy(fds[1]).add(fds[0])
    report({})
    syncfs(fds[1])
    return {}
