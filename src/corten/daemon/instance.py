"""What makes an engine the only one of its root: directories, lock, pidfile, identity."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import uuid

from corten.daemon.config import DEFAULT_ROOT
from corten.engine.containers.spec import CGROUP_PARENT
from corten.errors import Unavailable

_ROOT_DIRECTORIES = (("containers", 0o710), ("tmp", 0o700))


def prepare_root(root: str) -> None:
    """Make <root> and what no package makes for itself. Modes keep users out of containers' files."""
    os.makedirs(root, exist_ok=True)
    os.chmod(root, 0o710)  # noqa: S103 - others must not walk in (CVE-2021-41091)
    for name, mode in _ROOT_DIRECTORIES:
        path = os.path.join(root, name)
        os.makedirs(path, exist_ok=True)
        _drop_default_acl(path)
        os.chmod(path, mode)


def _drop_default_acl(path: str) -> None:
    """Have what is made in a directory inherit nothing: a default ACL of a directory above <root> would get
    into contexts of builds, layers and containers, and with them into images (acl(5))."""
    try:
        os.removexattr(path, "system.posix_acl_default")
    except OSError as e:
        if e.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise


def prepare_exec_root(exec_root: str, gid: int | None) -> None:
    """Make <exec-root>: root's alone, but the group of the API's socket may walk through to it."""
    os.makedirs(exec_root, exist_ok=True)
    if gid is None:
        os.chmod(exec_root, 0o700)
    else:
        os.chown(exec_root, -1, gid)
        os.chmod(exec_root, 0o710)  # noqa: S103 - see above


def lock_root(root: str) -> int:
    """Lock <root> for the life of this process; returns the fd that holds it. Raises Unavailable."""
    fd = os.open(os.path.join(root, "engine.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Unavailable(f"another engine is running on {root}") from None
    return fd


def write_pidfile(path: str) -> None:
    """Write our pid. Raises Unavailable if the file names a living process."""
    try:
        with open(path) as file:
            pid = int(file.read().strip() or 0)
    except (FileNotFoundError, ValueError):
        pid = 0
    if pid and pid != os.getpid() and os.path.exists(f"/proc/{pid}"):
        raise Unavailable(
            f"failed to start daemon, ensure the engine is not running or delete {path}: "
            f"process with PID {pid} is still running"
        )
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w") as file:
        file.write(str(os.getpid()))


def remove_pidfile(path: str) -> None:
    """Remove it if it is ours."""
    try:
        with open(path) as file:
            ours = file.read().strip() == str(os.getpid())
        if ours:
            os.unlink(path)
    except FileNotFoundError:
        return


def engine_id(root: str) -> str:
    """The id of the engine that lives in this root, made at its first start."""
    path = os.path.join(root, "engine-id")
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        identifier = str(uuid.uuid4())
        with open(path, "w") as file:
            file.write(identifier + "\n")
        return identifier


def default_cgroup_parent(root: str) -> str:
    """Where the cgroups of this root's containers are, unless daemon.json says otherwise."""
    if root == DEFAULT_ROOT:
        return CGROUP_PARENT
    return f"{CGROUP_PARENT}-{hashlib.sha256(root.encode()).hexdigest()[:6]}"


def kernel_names(root: str) -> tuple[str, str, str]:
    """(bridge, nftables table, link prefix) of the engine of this root: several share a machine."""
    if root == DEFAULT_ROOT:
        return "corten0", "corten", "vc"
    mark = hashlib.sha256(root.encode()).hexdigest()
    return f"corten-{mark[:6]}", f"corten_{mark[:6]}", f"v{mark[:5]}"
