"""Our own supervisor as a `Runtime`: `connect_or_start()` finds a living one or starts one.

If it dies while we live, a new one is started at once; it adopts the tasks, and we ask it what became
of them. The same goes for log writer and janitor, which the supervisor looks after.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from corten.errors import InternalError
from corten.linux import seqpacket
from corten.runtimes import init
from corten.runtimes.connection import Connection, ConnectionLost
from corten.runtimes.launcher import Code, installed_code, open_readonly_interpreter, spawn_supervisor
from corten.runtimes.protocol import Adopted, ExecInfo, ExecRequest, ExecStarted, Exit, TaskRequest

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 20.0
_UPGRADE_TIMEOUT_S = 30.0
_ATTEMPTS = 5


async def _connect(
    path: str, on_event: Callable[[dict[str, Any]], None], on_lost: Callable[[], None]
) -> Connection:
    return Connection(seqpacket.connect(path), on_event=on_event, on_lost=on_lost)


async def connect_or_start(exec_root: str, underlay: str = "", code: Code | None = None) -> SupervisorRuntime:
    """Connect to the supervisor of `exec_root`, starting one if none lives. Raises InternalError.

    underlay: a directory to lay below every task's layers (corten.snapshots.underlay). code: what it is to
    run, ours if not told otherwise; one that runs another is upgraded.
    """
    runtime = SupervisorRuntime(exec_root, underlay, code or installed_code())
    await runtime.connect()
    return runtime


class SupervisorRuntime:
    """Implements `corten.runtimes.protocol.Runtime`."""

    def __init__(self, exec_root: str, underlay: str, code: Code) -> None:
        self._exec_root = exec_root
        self._code = code
        self.underlay = underlay
        self._supervisor: Connection | None = None
        self._companions: dict[str, Connection] = {}
        self._companion_locks: dict[str, asyncio.Lock] = {}
        self._exit_callback: Callable[[Exit], None] = lambda exit: None
        self._oom_callback: Callable[[str], None] = lambda task_id: None
        self._settled_callback: Callable[[str, int], None] = lambda task_id, pid: None
        self._lost_callback: Callable[[], None] = lambda: None
        self._janitor_callback: Callable[[], None] = lambda: None
        self._seccomp_paths: dict[bytes, str] = {}
        self._reconnecting: asyncio.Task[None] | None = None
        self._closing = self._connecting = False
        self._spawned = 0  # pid of the supervisor, if it is our child

    def _reap(self) -> None:
        """Wait for a supervisor of ours that has died."""
        if self._spawned:
            try:
                ended, _ = os.waitpid(self._spawned, os.WNOHANG)
            except ChildProcessError:
                ended = self._spawned
            if ended:
                self._spawned = 0

    async def connect(self) -> None:
        """Connect, if need be after starting a supervisor. Raises InternalError after 20 s."""
        self._connecting = True  # a supervisor that dies meanwhile is this loop's business
        try:
            if await self._reach() != self._code.version:
                await self._upgrade()
        finally:
            self._connecting = False

    async def _reach(self) -> str:
        """Connect; returns the version of the supervisor's code. Raises InternalError after 20 s."""
        path = f"{self._exec_root}/supervisor.sock"
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                self._reap()
                while True:
                    try:
                        self._supervisor = await _connect(path, self._event, self._lost)
                        answer, _ = await self._supervisor.request("ping", {})
                        return str(answer.get("version", ""))
                    except (OSError, ConnectionLost):
                        pass
                    if not self._spawned:
                        self._spawned = spawn_supervisor(self._exec_root, self._code)
                    await asyncio.sleep(0.005)
                    self._reap()
        except TimeoutError:
            raise InternalError(f"the supervisor does not answer at {path}") from None

    async def _upgrade(self) -> None:
        """Have a supervisor of another version become ours. If it cannot, it goes on as it is."""
        assert self._supervisor is not None
        code = self._code
        fields = {"folder": code.folder, "executable": code.executable, "version": code.version}
        interpreter = open_readonly_interpreter()
        try:
            async with asyncio.timeout(_UPGRADE_TIMEOUT_S):
                await self._supervisor.request("upgrade", fields, fds=(interpreter,))
            log.info("supervisor upgraded", extra={"version": code.version})
        except ConnectionLost:
            log.warning("supervisor lost over its upgrade; starting another")
            await self._reach()
        except (InternalError, TimeoutError) as e:
            log.warning("supervisor not upgraded", extra={"reason": str(e) or "it takes too long"})
        finally:
            os.close(interpreter)

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        self._exit_callback = callback

    def on_oom(self, callback: Callable[[str], None]) -> None:
        self._oom_callback = callback

    def on_settled(self, callback: Callable[[str, int], None]) -> None:
        self._settled_callback = callback

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Be told when a new supervisor has taken over: exits may have happened in between."""
        self._lost_callback = callback

    def on_janitor_lost(self, callback: Callable[[], None]) -> None:
        """Be told when the janitor has died: what it was to discard may still be there."""
        self._janitor_callback = callback

    def _janitor_lost(self) -> None:
        if not self._closing:
            self._janitor_callback()

    def _event(self, message: dict[str, Any]) -> None:
        if message.get("event") == "exit":
            self._exit_callback(
                Exit(
                    task_id=message["id"],
                    exec_id=message.get("exec_id"),
                    code=message["code"],
                    oom_killed=message["oom"],
                    at_ns=message["at_ns"],
                )
            )
        elif message.get("event") == "oom":
            self._oom_callback(message["id"])
        elif message.get("event") == "settled":
            self._settled_callback(message["id"], message["pid"])

    def _lost(self) -> None:
        if not self._closing and not self._connecting:
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        log.warning("supervisor lost; starting another")
        await self.connect()
        self._lost_callback()

    async def _once(
        self, operation: str, fields: dict[str, Any], *, raw: bytes = b"", fds: tuple[int, ...] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        """One request to the supervisor that lives, or is about to. Raises ConnectionLost if it dies."""
        if self._reconnecting is not None and not self._reconnecting.done():
            await asyncio.shield(self._reconnecting)
        if self._supervisor is None:
            raise InternalError("the supervisor is not connected")
        return await self._supervisor.request(operation, fields, raw=raw, fds=fds)

    async def _request(self, operation: str, fields: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """A request that may be repeated, to the next supervisor if this one dies over it."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._once(operation, fields)
            except ConnectionLost:
                if self._closing:
                    raise
        return await self._once(operation, fields)

    async def tasks(self) -> list[Adopted]:
        answer, _ = await self._request("tasks", {})
        found = []
        for document in answer["tasks"]:
            ended = document.get("exit")
            found.append(
                Adopted(
                    task_id=document["id"],
                    pid=document["pid"],
                    cgroup=document["cgroup"],
                    paused=document.get("paused", False),
                    exit=None
                    if ended is None
                    else Exit(
                        task_id=document["id"],
                        exec_id=None,
                        code=ended["code"],
                        oom_killed=ended["oom"],
                        at_ns=ended["at_ns"],
                    ),
                )
            )
        return found

    def _seccomp_path(self, program: bytes | None) -> str | None:
        """Where the supervisor finds a compiled program: written once, named by its hash."""
        if program is None:
            return None
        path = self._seccomp_paths.get(program)
        if path is None:
            folder = f"{self._exec_root}/seccomp"
            os.makedirs(folder, 0o700, exist_ok=True)
            path = f"{folder}/{hashlib.sha256(program).hexdigest()}"
            with open(f"{path}.new", "wb") as f:
                f.write(program)
            os.rename(f"{path}.new", path)
            self._seccomp_paths[program] = path
        return path

    async def start(self, request: TaskRequest) -> int:
        fields: dict[str, Any] = {
            "id": request.id,
            "log": {
                "path": request.log.path,
                "max_bytes": request.log.max_bytes,
                "max_files": request.log.max_files,
                "max_age_s": request.log.max_age_s,
                "compress": request.log.compress,
                "attrs": request.log.attrs,
                "remote": request.log.remote,
            },
            "terminal": request.terminal,
            "open_stdin": request.open_stdin,
            "console_size": request.console_size,
            "seccomp": self._seccomp_path(request.seccomp),
        }
        if request.runtime is not None:
            runtime = request.runtime
            fields["runtime"] = {
                "name": runtime.name,
                "path": runtime.path,
                "arguments": list(runtime.arguments),
            }
        if request.peers:
            fields["peers"] = request.peers
        if request.restore is not None:
            fields["restore"] = dataclasses.asdict(request.restore)
        if request.overlay is not None:
            fields["overlay"] = {
                "lower": [*request.overlay.lower, *([self.underlay] if self.underlay else ())],
                "upper": request.overlay.upper,
                "work": request.overlay.work,
                "volatile": request.overlay.volatile,
            }
        spec = init.add(request.spec) if request.init else request.spec
        fds = () if request.netns_fd is None else (request.netns_fd,)
        if request.output_fds is not None:
            fields["piped"] = True
            fds = (*request.output_fds, *fds)
        asked_ns = time.time_ns()
        try:
            answer, _ = await self._once("start", fields, raw=b',"spec":' + spec, fds=fds)
        except ConnectionLost:
            answer = await self._fate(request, asked_ns)
        for warning in answer.get("warnings", ()):  # a limit that this machine cannot keep
            log.warning("limit not set", extra={"container": request.id, "reason": warning})
        return int(answer["pid"])

    async def _fate(self, request: TaskRequest, asked_ns: int) -> dict[str, Any]:
        """The supervisor died while starting a task: it either was started, or there is nothing of it."""
        for task in await self.tasks():
            if task.task_id != request.id:
                continue
            if task.exit is None:
                return {"pid": task.pid}
            if task.exit.at_ns >= asked_ns:
                self._exit_callback(task.exit)  # nobody was there when it was told
                return {"pid": task.pid}
            await self.forget(request.id)  # what ran before
        cgroup = msgspec.json.decode(request.spec)["linux"]["cgroupsPath"]
        await self._request("clean", {"id": request.id, "cgroup": cgroup})
        raise InternalError("the supervisor died while starting the container")

    async def exec(self, request: ExecRequest) -> ExecStarted:
        fields = {
            "id": request.task_id,
            "exec_id": request.exec_id,
            "terminal": request.terminal,
            "console_size": request.console_size,
            "stdin": request.stdin,
            "stdout": request.stdout,
            "stderr": request.stderr,
            "seccomp": self._seccomp_path(request.seccomp),
        }
        raw = b',"process":' + request.process + b',"about":' + request.about
        answer, fds = await self._once("exec", fields, raw=raw)
        named = dict(zip(answer["fds"], fds, strict=True))
        if request.terminal:
            master = named["master"]
            return ExecStarted(pid=answer["pid"], stdin_fd=os.dup(master), stdout_fd=master, stderr_fd=None)
        return ExecStarted(
            pid=answer["pid"],
            stdin_fd=named.get("stdin"),
            stdout_fd=named.get("stdout"),
            stderr_fd=named.get("stderr"),
        )

    async def exec_info(self, exec_id: str) -> ExecInfo:
        answer, _ = await self._request("exec_info", {"exec_id": exec_id})
        return ExecInfo(task_id=answer["id"], pid=answer["pid"], code=answer["code"], about=answer["about"])

    async def kill(self, task_id: str, signal: int, *, exec_id: str | None = None) -> None:
        await self._request("kill", {"id": task_id, "signal": signal, "exec_id": exec_id})

    async def kill_all(self, task_id: str) -> None:
        await self._request("kill_all", {"id": task_id})

    async def resize(self, task_id: str, rows: int, columns: int, *, exec_id: str | None = None) -> None:
        await self._request("resize", {"id": task_id, "rows": rows, "columns": columns, "exec_id": exec_id})

    async def pause(self, task_id: str) -> None:
        await self._request("pause", {"id": task_id})

    async def resume(self, task_id: str) -> None:
        await self._request("resume", {"id": task_id})

    async def _companion(self, name: str) -> Connection:
        """The one connection to log writer or janitor, made anew if that has been replaced."""
        async with self._companion_locks.setdefault(name, asyncio.Lock()):
            held = self._companions.get(name)
            if held is None or held.lost:
                on_lost = self._janitor_lost if name == "janitor" else lambda: None
                held = self._companions[name] = await self._connect_to(name, on_lost)
            return held

    async def _connect_to(
        self,
        name: str,
        on_lost: Callable[[], None],
        on_event: Callable[[dict[str, Any]], None] = lambda message: None,
    ) -> Connection:
        """A new connection to one of the supervisor's companions, which may have to come up first."""
        deadline = asyncio.get_running_loop().time() + _CONNECT_TIMEOUT_S
        while True:
            try:
                return await _connect(f"{self._exec_root}/{name}.sock", on_event, on_lost)
            except OSError as e:
                if asyncio.get_running_loop().time() > deadline:
                    raise InternalError(f"{name}.sock: {e.strerror}") from None
                await asyncio.sleep(0.01)

    async def attach_output(self, task_id: str, *, stdout: bool, stderr: bool) -> int:
        logs = await self._companion("logs")
        fields = {"id": task_id, "stdout": stdout, "stderr": stderr}
        _, fds = await logs.request("attach", fields)
        return fds[0]

    async def attach_stdin(self, task_id: str) -> int | None:
        _, fds = await self._request("stdin", {"id": task_id})
        return fds[0] if fds else None

    async def close_stdin(self, task_id: str) -> None:
        await self._request("close_stdin", {"id": task_id})

    async def forget(self, task_id: str) -> None:
        if self._supervisor is not None:
            self._supervisor.notify("forget", {"id": task_id})

    async def make_sandbox(
        self, *, bridge_index: int, mtu: int, isolated: bool, resolver: bool, host_ifname: str
    ) -> list[int]:
        """Have the janitor make a network namespace (`corten.linux.netlink.sandbox.make_sandbox`)."""
        janitor = await self._companion("janitor")
        fields = {
            "bridge_index": bridge_index,
            "mtu": mtu,
            "isolated": isolated,
            "resolver": resolver,
            "host_ifname": host_ifname,
        }
        return (await janitor.request("sandbox", fields))[1]

    async def make_bare_sandbox(self) -> list[int]:
        """As `make_sandbox`, with nothing but lo inside."""
        janitor = await self._companion("janitor")
        return (await janitor.request("bare_sandbox", {}))[1]

    async def make_owned_sandbox(
        self,
        uids: Sequence[Mapping[str, int]],
        gids: Sequence[Mapping[str, int]],
        userns_fd: int | None = None,
    ) -> list[int]:
        """As `make_bare_sandbox`; it belongs to a user namespace: that one, or a new one with these maps."""
        janitor = await self._companion("janitor")
        fds = () if userns_fd is None else (userns_fd,)
        return (await janitor.request("owned_sandbox", {"uids": uids, "gids": gids}, fds=fds))[1]

    def has_companion(self, role: str) -> bool:
        return os.path.exists(f"{self._exec_root}/{role}.sock")

    async def companion(
        self, role: str, on_lost: Callable[[], None], on_event: Callable[[dict[str, Any]], None]
    ) -> Connection:
        await self._request("companion", {"role": role})
        return await self._connect_to(role, on_lost, on_event)

    async def discard(self, path: str) -> None:
        """Have the janitor remove a directory tree that nobody uses any more."""
        janitor = await self._companion("janitor")
        janitor.notify("discard", {"path": path})

    async def sweep_cgroups(self, parent: str, keep: list[str]) -> None:
        """Have the janitor remove empty cgroups below `parent` that are named like tasks but not kept."""
        janitor = await self._companion("janitor")
        janitor.notify("sweep", {"parent": parent, "keep": keep})

    async def shutdown(self) -> None:
        """End the supervisor and its companions. Raises InternalError while tasks run."""
        self._closing = True
        await self._request("shutdown", {})
        await self.close()

    async def close(self) -> None:
        self._closing = True
        for connection in (self._supervisor, *self._companions.values()):
            if connection is not None:
                connection.close()
