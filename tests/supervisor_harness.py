"""A supervisor of its own for each test, a busybox root file system, and a way to run tasks in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from corten.runtimes.protocol import Exit, LogTarget, Overlay, TaskRequest
from corten.runtimes.supervisor import SupervisorRuntime, connect_or_start

CAPS = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_MKNOD"]
RIGHTS = {"capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPS)}


def spec(args: list[str], *, cgroup: str, **changes: object) -> dict[str, object]:
    document: dict[str, object] = {
        "ociVersion": "1.2.0",
        "hostname": "box",
        "root": {"path": "/unused"},
        "process": {
            "args": args,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            **RIGHTS,
        },
        "mounts": [
            {
                "destination": "/proc",
                "type": "proc",
                "source": "proc",
                "options": ["nosuid", "noexec", "nodev"],
            },
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
            {
                "destination": "/sys",
                "type": "sysfs",
                "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            },
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": n} for n in ("pid", "mount", "ipc", "uts", "network", "cgroup")],
            "resources": {},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware", "/proc/not-there"],
            "readonlyPaths": ["/proc/sys", "/proc/bus"],
        },
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            document[section][name] = value  # type: ignore[index]
        else:
            document[section] = value
    return document


@pytest.fixture(scope="session")
def rootfs() -> Iterator[str]:
    """A root file system with busybox, for tasks without an engine. For the conftest.py of who wants it."""
    folder = tempfile.mkdtemp(prefix="corten-rootfs-")
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp"):
        os.mkdir(f"{folder}/{name}")
    shutil.copy("/bin/busybox", f"{folder}/bin/busybox")
    subprocess.run(["chroot", folder, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    with open(f"{folder}/etc/passwd", "w") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\n")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def children(pid: int) -> list[str]:
    """Of the process, as /proc tells: its zombies as well."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


class Harness:
    """A runtime and the exits it told."""

    def __init__(self, exec_root: str, rootfs: str, runtime: SupervisorRuntime) -> None:
        self.exec_root, self.rootfs, self.runtime = exec_root, rootfs, runtime
        self.exits: dict[tuple[str, str | None], asyncio.Future[Exit]] = {}
        self.cgroup = f"/corten-test-{uuid.uuid4().hex[:8]}"
        runtime.on_exit(self._exited)

    def _future(self, task_id: str, exec_id: str | None) -> asyncio.Future[Exit]:
        return self.exits.setdefault((task_id, exec_id), asyncio.get_running_loop().create_future())

    def _exited(self, ended: Exit) -> None:
        future = self._future(ended.task_id, ended.exec_id)
        if not future.done():
            future.set_result(ended)

    async def exit(self, task_id: str, exec_id: str | None = None) -> Exit:
        return await asyncio.wait_for(asyncio.shield(self._future(task_id, exec_id)), 20)

    def log_path(self, task_id: str) -> str:
        return f"{self.exec_root}/c/{task_id}/log"

    def log_text(self, task_id: str) -> str:
        if not os.path.exists(self.log_path(task_id)):
            return ""  # it has said nothing yet
        with open(self.log_path(task_id)) as f:
            return "".join(json.loads(line)["log"] for line in f)

    async def start(self, task_id: str, args: list[str], **options: object) -> int:
        folder = f"{self.exec_root}/c/{task_id}"
        for name in ("upper", "work"):
            os.makedirs(f"{folder}/{name}", exist_ok=True)
        changes = options.pop("changes", {})
        terminal = bool(options.get("terminal"))
        document = spec(args, cgroup=f"{self.cgroup}/{task_id}", **changes)  # type: ignore[arg-type]
        document["process"]["terminal"] = terminal  # type: ignore[index]
        request = TaskRequest(
            id=task_id,
            spec=json.dumps(document).encode(),
            overlay=Overlay(lower=[self.rootfs], upper=f"{folder}/upper", work=f"{folder}/work"),
            log=LogTarget(path=self.log_path(task_id), **options.pop("log", {})),  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )
        return await self.runtime.start(request)

    def supervisor_pids(self) -> dict[str, int]:
        """role -> pid of our own supervisor processes, found by their command line."""
        pids = {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as f:
                argv = f.read().split(b"\0")
                if self.exec_root.encode() in argv and argv[3].endswith(b"/supervisor"):
                    forked = Path(f"/proc/{name}/comm").read_text() == "corten-nursery\n"
                    pids["nursery" if forked else argv[4].decode()] = int(name)
        return pids

    def held(self) -> dict[str, int]:
        """How many descriptors each of our supervisor processes has, and how many children the supervisor."""
        pids = self.supervisor_pids()
        counts = {role: len(os.listdir(f"/proc/{pid}/fd")) for role, pid in pids.items()}
        return counts | {"children": len(children(pids["supervisor"]))}

    async def holds_no_more_than(self, had: dict[str, int]) -> None:
        """An end is told before the last of it is closed: waited for."""
        for _ in range(500):
            if all(count <= had[what] for what, count in self.held().items()):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{self.held()} of {had}")

    def kill_role(self, role: str) -> int:
        pid = self.supervisor_pids()[role]
        os.kill(pid, signal.SIGKILL)
        return pid

    def cgroups_left(self) -> list[str]:
        left = []
        for base, _, _ in os.walk("/sys/fs/cgroup"):
            if self.cgroup in base and base.count("/") > 5:
                left.append(base)
        return left


@contextlib.asynccontextmanager
async def harness(rootfs: str) -> AsyncIterator[Harness]:
    exec_root = tempfile.mkdtemp(prefix="cts-")
    runtime = await connect_or_start(exec_root)
    made = Harness(exec_root, rootfs, runtime)
    try:
        yield made
    finally:
        for task in await made.runtime.tasks():
            if task.exit is None:
                with contextlib.suppress(Exception):
                    await made.runtime.kill(task.task_id, signal.SIGKILL)
                    await made.exit(task.task_id)
        await made.runtime.shutdown()
        for _ in range(200):
            if not made.supervisor_pids():
                break
            await asyncio.sleep(0.02)
        assert not made.supervisor_pids()
        leftovers = made.cgroups_left()
        for path in sorted(leftovers, key=len, reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        for hierarchy in os.listdir("/sys/fs/cgroup"):
            with contextlib.suppress(OSError):
                os.rmdir(f"/sys/fs/cgroup/{hierarchy}{made.cgroup}")
        shutil.rmtree(exec_root)
        assert not leftovers
