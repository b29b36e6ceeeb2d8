"""The small init that `--init` starts as PID 1: init.c, built by script/build-init."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from corten.errors import NotSupported

INSIDE = "/sbin/docker-init"  # where it appears in the container, as with Docker


def binary_path() -> str:
    """The init binary for this machine. Raises NotSupported where none is shipped."""
    machine = os.uname().machine
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"init.{machine}")
    if not os.path.exists(path):
        raise NotSupported(f"--init is not supported by Corten on {machine} yet")
    return path


def add(spec: bytes) -> bytes:
    """An OCI document (JSON) with the init bound in and put before the program. Raises NotSupported."""
    document: dict[str, Any] = msgspec.json.decode(spec)
    document["process"]["args"] = [INSIDE, "--", *document["process"]["args"]]
    bind = {"destination": INSIDE, "type": "bind", "source": binary_path(), "options": ["bind", "ro"]}
    document["mounts"] = [*document.get("mounts", ()), bind]
    return msgspec.json.encode(document)
