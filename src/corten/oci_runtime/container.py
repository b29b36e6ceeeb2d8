"""A container known to `corten-oci`: its state on disk, and what its process is doing."""

from __future__ import annotations

import json
import os
import shutil

from corten.linux import cgroups, pidfd, process
from corten.oci_runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.2.0"


class Container:
    """State as loaded from, or to be saved in, ROOT/<id>/state.json."""

    def __init__(self, root: str, container_id: str, document: dict[str, Any]) -> None:
        self.id = container_id
        self.folder = f"{root}/{container_id}"
        self.pid: int = document.get("pid", 0)
        self.start_time: int = document.get("startTime", 0)
        self.bundle: str = document["bundle"]
        self.cgroup: str = document["cgroup"]
        self.spec: dict[str, Any] = document["spec"]
        self.created: str = document.get("created", "")

    @property
    def gate_path(self) -> str:
        """Where a created container waits to be started."""
        return f"{self.folder}/start.sock"

    def save(self) -> None:
        """Write state.json: temp, rename."""
        document = {
            "pid": self.pid,
            "startTime": self.start_time,
            "bundle": self.bundle,
            "cgroup": self.cgroup,
            "spec": self.spec,
            "created": self.created,
        }
        fresh = f"{self.folder}/state.json.new"
        with open(fresh, "w") as f:
            json.dump(document, f)
        os.rename(fresh, f"{self.folder}/state.json")

    def open_process(self) -> int | None:
        """A pidfd of the init, or None if it is gone (or only a zombie)."""
        if not self.pid:
            return None
        try:
            fd = pidfd.pidfd_open(self.pid)
        except OSError:
            return None
        try:
            if process.start_time(self.pid) == self.start_time and not pidfd.has_ended(fd):
                return fd
        except OSError:
            pass
        os.close(fd)
        return None

    def status(self) -> str:
        """creating, created, running, paused or stopped; runtime-spec runtime.md "State"."""
        if not self.pid:
            return "creating"
        fd = self.open_process()
        if fd is None:
            return "stopped"
        os.close(fd)
        if os.path.exists(self.gate_path):
            return "created"
        return "paused" if cgroups.manager().frozen(self.cgroup) else "running"

    def state(self) -> dict[str, Any]:
        """The OCI state document."""
        status = self.status()
        return {
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "status": status,
            "pid": 0 if status == "stopped" else self.pid,
            "bundle": self.bundle,
            "rootfs": self.spec["root"]["path"],
            "created": self.created,
            "owner": "",
            "annotations": self.spec.get("annotations") or {},
        }

    def remove(self) -> None:
        """Forget the container: its cgroup and its folder."""
        manager = cgroups.manager()
        manager.kill_all(self.cgroup)
        manager.remove(self.cgroup)
        shutil.rmtree(self.folder, ignore_errors=True)


def check_id(container_id: str) -> None:
    """Ids become file names: letters, digits and _+-. only, as runc has it. Raises RuntimeFailure."""
    allowed = all(c.isascii() and (c.isalnum() or c in "_+-.") for c in container_id)
    if not container_id or not allowed or container_id in (".", ".."):
        raise RuntimeFailure("invalid container ID format")


def load(root: str, container_id: str) -> Container:
    """Raises RuntimeFailure("container does not exist")."""
    check_id(container_id)
    try:
        with open(f"{root}/{container_id}/state.json") as f:
            return Container(root, container_id, json.load(f))
    except FileNotFoundError:
        raise RuntimeFailure("container does not exist") from None


def load_all(root: str) -> list[Container]:
    """Every container under `root`."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    return [load(root, name) for name in names if os.path.exists(f"{root}/{name}/state.json")]
