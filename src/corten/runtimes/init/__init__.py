"""The small init that `--init` starts as PID 1: init.c, built by script/build-init."""

from __future__ import annotations

import os

from corten.errors import NotSupported


def binary_path() -> str:
    """The init binary for this machine. Raises NotSupported where none is shipped."""
    machine = os.uname().machine
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"init.{machine}")
    if not os.path.exists(path):
        raise NotSupported(f"--init is not supported by Corten on {machine} yet")
    return path
