"""Exec instances: further processes in a running container."""

from __future__ import annotations

import msgspec

from corten.types.document import Document, Int64, StrSlice, always


class ExecConfig(Document, kw_only=True):
    """Body of POST /containers/{id}/exec. ConsoleSize is (rows, columns)."""

    user: str = always("")
    privileged: bool = always(False)
    tty: bool = always(False)
    console_size: tuple[Int64, Int64] | None = None
    attach_stdin: bool = always(False)
    attach_stderr: bool = always(False)
    attach_stdout: bool = always(False)
    detach: bool = always(False)
    detach_keys: str = always("")
    env: list[str] | None = always(None)
    working_dir: str = always("")
    cmd: StrSlice | None = always(None)


class ExecCreateResponse(Document, kw_only=True):
    """Answer of POST /containers/{id}/exec."""

    id: str


class ExecStartConfig(Document, kw_only=True):
    """Body of POST /exec/{id}/start."""

    detach: bool = always(False)
    tty: bool = always(False)
    console_size: tuple[Int64, Int64] | None = None


class ExecProcess(Document, kw_only=True, rename="lower"):
    """What the exec runs."""

    tty: bool
    entrypoint: str
    arguments: list[str]
    privileged: bool | None = None
    user: str = ""


class ExecInspect(Document, kw_only=True):
    """Answer of GET /exec/{id}/json. ExitCode is null while it runs, Pid 0 before it does."""

    id: str = msgspec.field(name="ID")
    running: bool
    exit_code: int | None
    process_config: ExecProcess
    open_stdin: bool
    open_stderr: bool
    open_stdout: bool
    can_remove: bool
    container_id: str = msgspec.field(name="ContainerID")
    detach_keys: str
    pid: int
