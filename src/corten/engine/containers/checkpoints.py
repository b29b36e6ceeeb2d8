"""Checkpoints: containers' processes written to files by criu, and brought back by it.

    <container>/checkpoints/<name>/     criu's images, and corten.json: what to give criu at the restore

criu stops the processes, reads them out and kills them unless they are to go on. What comes from outside of
the container (network, output, volumes, its own few files, cgroups) stays outside: it is named at the dump,
and the next start hands over what then stands in its place. Source: criu(8);
https://criu.org/External_bind_mounts, https://criu.org/Inheriting_FDs_on_restore.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import shutil
import stat
from collections.abc import Sequence

import msgspec

from corten.engine.containers import dumps
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.state import Status
from corten.errors import Conflict, InternalError, InvalidParameter, NotFound, NotSupported
from corten.linux.mountinfo import read_mounts
from corten.runtimes.protocol import External, Restore
from corten.types.checkpoint import Checkpoint, CheckpointCreate

PROGRAM = "criu"
_DOCUMENT = "corten.json"
_DOCUMENT_MAX = 1 << 20  # bytes
_STDIO = 3
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_OWN_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_FLAGS = ("--shell-job", "--file-locks", "--ext-unix-sk", "--tcp-established", "--manage-cgroups=ignore")
_SAID = 3  # lines of criu's complaints that are passed on


class CheckpointService:
    """Implements `corten.api.routes.checkpoints.Checkpoints`; what is not said here is said there."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def restore(self) -> None:
        """Finish what an engine before us has begun; those in other directories than ours are not known."""
        for container in self._context.store.all():
            for target in dumps.left(_folder(container, "")):
                self._context.background.start(dumps.settle(target), "settle checkpoint")

    async def create(self, ref: str, request: CheckpointCreate) -> None:
        """See Checkpoints."""
        container = self._context.store.get(ref)
        name = _checked(request.checkpoint_id)
        async with container.lock:
            _check_possible(container)
            target = os.path.join(_folder(container, request.checkpoint_dir), name)
            if os.path.exists(target):
                raise Conflict(f"checkpoint with name {name} already exists for container {container.name}")
            before = container.state.stopped_by_user
            container.state.stopped_by_user = before or request.exit  # no restart policy brings it back
            try:
                await self._dump(container, target, leave_running=not request.exit)
            except BaseException:
                container.state.stopped_by_user = before
                raise
        self._context.publish(container, "checkpoint")

    async def list(self, ref: str, directory: str) -> list[Checkpoint]:
        """See Checkpoints."""
        folder = _folder(self._context.store.get(ref), directory)
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        finished = filter(_NAME.fullmatch, names)
        return [Checkpoint(name=name) for name in finished if os.path.exists(f"{folder}/{name}/{_DOCUMENT}")]

    async def remove(self, ref: str, name: str, directory: str) -> None:
        """See Checkpoints."""
        container = self._context.store.get(ref)
        path = _path(container, name, directory)
        await asyncio.to_thread(shutil.rmtree, path)

    async def _dump(self, container: Container, target: str, *, leave_running: bool) -> None:
        program = _program(f"Cannot checkpoint container {container.name}")
        unfinished, lock = dumps.unfinished(target), dumps.begin(target)
        try:
            restore, externals = _outside(container, program)
            with open(f"{unfinished}/{_DOCUMENT}", "wb") as file:
                file.write(msgspec.json.encode(restore))
            command = [program, "dump", "--tree", str(container.pid), "--images-dir", unfinished]
            command += ["-v2", "--log-file", "dump.log", *_FLAGS, *externals]
            if leave_running:
                command.append("--leave-running")
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(lock,),
            )
            if await process.wait():
                why = _complaints(f"{unfinished}/dump.log")
                raise InternalError(f"Cannot checkpoint container {container.name}: criu failed: {why}")
            os.rename(unfinished, target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        finally:
            os.close(lock)


def load(container: Container, name: str, directory: str) -> Restore:
    """What a start from a checkpoint needs. Raises NotFound, InvalidParameter, InternalError,
    NotSupported."""
    path = _path(container, name, directory)
    _check_kind(container)
    restore = _read(f"{path}/{_DOCUMENT}")
    program = _program(f"failed to restore container {container.name}")
    # Whoever wrote the document: which options criu gets (there are some that run programs) is ours to say.
    return dataclasses.replace(restore, program=program, images=path, flags=_FLAGS)


def _read(path: str) -> Restore:
    """The document of a checkpoint, which may come from anywhere. Raises InvalidParameter."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        text = file.read(_DOCUMENT_MAX) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    try:
        restore = msgspec.json.decode(text, type=Restore)
    except msgspec.DecodeError as error:
        raise InvalidParameter(f"invalid checkpoint: {path}: {error}") from None
    if len(restore.stdio) != _STDIO:
        raise InvalidParameter(f"invalid checkpoint: {path}: {len(restore.stdio)} standard streams")
    return restore


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidParameter(f"Invalid checkpoint ID ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name


def _folder(container: Container, directory: str) -> str:
    if directory and not directory.startswith("/"):
        raise InvalidParameter(f"invalid checkpoint directory '{directory}': it needs to be an absolute path")
    return os.path.normpath(directory) if directory else f"{container.directory}/checkpoints"


def _path(container: Container, name: str, directory: str) -> str:
    path = os.path.join(_folder(container, directory), _checked(name))
    if not os.path.exists(f"{path}/{_DOCUMENT}"):
        raise NotFound(f"checkpoint {name} does not exist for container {container.name}")
    return path


def _check_possible(container: Container) -> None:
    if container.status is not Status.RUNNING or not container.pid:
        raise Conflict(f"Container {container.id} is not running")
    _check_kind(container)


def _check_kind(container: Container) -> None:
    """What criu or we cannot do. Raises NotSupported."""
    record = container.record
    host_config = record.host_config
    if record.config.tty:
        raise NotSupported("checkpoint support on containers with tty is not available")
    if record.id_maps is not None:
        raise NotSupported("containers with user namespaces cannot be checkpointed")
    if container_mode(host_config.pid_mode) or container_mode(host_config.ipc_mode):
        raise NotSupported("containers that share others' processes or IPC cannot be checkpointed")


def _program(what: str) -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        raise InternalError(f'{what}: exec: "{PROGRAM}": executable file not found in $PATH')
    return found


def _outside(container: Container, program: str) -> tuple[Restore, Sequence[str]]:
    """What the container has from outside: for the restore, and as criu's arguments for the dump."""
    pid, arguments = container.pid, []
    externals = []
    for destination, kind in _mounts(container):
        externals.append(External(destination=destination, kind=kind))
        arguments += ["--external", f"mnt[{destination}]:{destination}"]
    stdio = []
    for number in range(_STDIO):
        link = os.readlink(f"/proc/{pid}/fd/{number}")
        if not link.startswith("pipe:["):  # our /dev/null, which is mounted nowhere
            link = _file_id(pid, number)
            arguments += ["--external", link]
        stdio.append(link)
    network = os.stat(f"/proc/{pid}/ns/net").st_ino
    if network != os.stat("/proc/self/ns/net").st_ino:
        arguments += ["--external", f"net[{network}]:extRootNetNS"]
    restore = Restore(program=program, images="", stdio=stdio, externals=externals, flags=_FLAGS)
    return restore, arguments


def _file_id(pid: int, number: int) -> str:
    with open(f"/proc/{pid}/fdinfo/{number}") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return f"file[{int(fields['mnt_id']):x}:{int(fields['ino']):x}]"


def _mounts(container: Container) -> list[tuple[str, str]]:
    """Mounts that are not the container's own making, and what they are."""
    own = {mount.destination for mount in container.record.mounts if mount.kind != "tmpfs"}
    if container.record.host_config.ipc_mode in ("host", "shareable"):
        own.add("/dev/shm")  # noqa: S108
    found = []
    for entry in read_mounts(container.pid):
        if entry.fstype in ("cgroup", "cgroup2"):
            found.append((entry.path, "cgroup"))
        elif entry.path in own or entry.path in _OWN_FILES:
            found.append((entry.path, "mount"))
        elif entry.fstype == "devtmpfs" and entry.root == "/null":
            found.append((entry.path, "null"))
    return found


def _complaints(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            said = [line.partition(": ")[2].strip() for line in file if "Error (" in line]
    except FileNotFoundError:
        return "it said nothing"
    return "; ".join(said[:_SAID]) or "it said nothing"
