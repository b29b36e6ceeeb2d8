"""What a new task needs to know, gathered by the launcher before it clones."""

from __future__ import annotations

from corten.linux.seccomp.install import FLAG_SPEC_ALLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from corten.linux.cgroups.protocol import CgroupManager


class TaskSetup:
    """Everything between an OCI document and clone3(2).

    spec            OCI runtime-spec document, decoded
    overlay         {"lower", "upper", "work", "volatile"} or None (then spec.root.path is mounted already)
    mountpoint      where to mount the overlay, in the task's own mount namespace
    stdio           fds for 0, 1 and 2; None with a terminal, or to keep the launcher's
    seccomp         compiled program, or None (then spec.linux.seccomp, if any, is compiled)
    gate            listening socket: wait here for a connection before becoming the program (OCI
                    create/start); that connection then is the status channel
    held            whether to wait for the launcher's "go" before becoming the program
    hooks           whether to ask the launcher to run its hooks when the namespaces exist
    state           the OCI state document for hooks that run in here
    nofile          RLIMIT_NOFILE to give back to the child; the launcher runs with a raised one
    keep_fds        how many fds from 3 on the program shall inherit
    """

    __slots__ = (
        "cgroup_path",
        "cgroups",
        "gate",
        "held",
        "hooks",
        "idmaps",
        "keep_fds",
        "mountpoint",
        "new_flags",
        "nofile",
        "overlay",
        "preparing",
        "seccomp",
        "seccomp_flags",
        "spec",
        "state",
        "stdio",
        "userns_fd",
    )

    def __init__(
        self,
        spec: dict[str, Any],
        *,
        overlay: dict[str, Any] | None = None,
        mountpoint: str = "",
        cgroups: CgroupManager | None = None,
        cgroup_path: str = "",
        stdio: tuple[int, int, int] | None = None,
        seccomp: bytes | None = None,
        seccomp_flags: int = FLAG_SPEC_ALLOW,
        gate: socket.socket | None = None,
        held: bool = False,
        hooks: bool = False,
        state: dict[str, Any] | None = None,
        nofile: tuple[int, int] | None = None,
        keep_fds: int = 0,
    ) -> None:
        self.spec, self.overlay, self.mountpoint = spec, overlay, mountpoint
        self.cgroups, self.cgroup_path = cgroups, cgroup_path
        self.stdio, self.seccomp, self.seccomp_flags = stdio, seccomp, seccomp_flags
        self.gate, self.nofile, self.keep_fds = gate, nofile, keep_fds
        self.held, self.hooks, self.state = held, hooks, state or {}
        self.new_flags = 0
        self.idmaps: dict[int, int] = {}  # user namespaces of mounts, by place; filled by the launcher
        self.userns_fd = -1  # user namespace of the task, -1 = ours; filled by the launcher
        self.preparing: socket.socket | None = None  # in a user namespace: from `corten.task.prepared`

    @property
    def root_target(self) -> str:
        """The directory of the host that becomes the root, in the task's mount namespace."""
        return self.mountpoint if self.overlay is not None else str(self.spec["root"]["path"])
