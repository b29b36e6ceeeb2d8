"""The process that forks a child per job. Started by `pool`, never imported by the engine.

A job is a function `(params, fds, report) -> dict`; its name comes from the engine ("module:function"),
its fds belong to it, `report(dict)` sends progress. Errors travel as (kind, message, errno).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import TypeAlias

from corten.errors import CortenError
from corten.linux import seqpacket
from corten.linux.syscalls import PR_SET_PDEATHSIG, prctl, set_process_name

Params: TypeAlias = "dict[str, object]"
Report: TypeAlias = Callable[[Params], None]

# Deep trees are walked recursively, with an open directory for each level.
_RECURSION_LIMIT = 30_000
_PRELOADED = ("corten.snapshots.jobs", "isal.igzip_lib")


def main(control: socket.socket, preload: list[str]) -> None:
    """Fork a child for every job that arrives, until the engine closes its end."""
    set_process_name("corten-workers")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0)
    sys.setrecursionlimit(_RECURSION_LIMIT)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    for module in (*_PRELOADED, *preload):
        importlib.import_module(module)
    gc.freeze()
    while True:
        data, fds = seqpacket.receive(control)
        if not data:
            return
        if os.fork() == 0:
            code = 1
            try:
                control.close()
                code = _child(data, fds)
            finally:
                os._exit(code)
        for fd in fds:
            os.close(fd)


def _child(data: bytes, fds: list[int]) -> int:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    channel = socket.socket(fileno=fds[0])

    def send(message: Params) -> None:
        seqpacket.send(channel, json.dumps(message).encode())

    try:
        request = json.loads(data)
        pidfd = os.pidfd_open(os.getpid())
        seqpacket.send(channel, b"{}", [pidfd])
        os.close(pidfd)
        set_process_name(f"corten-{request['job'].rpartition(':')[2]}")
        answer = _function(request["job"])(request["params"], fds[1:], lambda m: send({"progress": m}))
        send({"result": answer})
    except BaseException as e:
        try:
            send({"error": _described(e)})
        except OSError:
            pass  # the engine has lost interest, or is gone
        return 1
    return 0


def _function(job: str) -> Callable[[Params, list[int], Report], Params]:
    module, _, name = job.partition(":")
    function: Callable[[Params, list[int], Report], Params] = getattr(importlib.import_module(module), name)
    return function


def _described(error: BaseException) -> Params:
    if isinstance(error, OSError):
        return {
            "kind": "OSError",
            "errno": error.errno,
            "message": error.strerror,
            "path": _text(error.filename),
        }
    if isinstance(error, CortenError):
        kind = f"{type(error).__module__}:{type(error).__qualname__}"
        return {"kind": kind, "message": _shown(str(error))}
    return {"kind": "", "message": _shown(f"{type(error).__name__}: {error}")}


def _shown(message: str) -> str:
    """Text for people: names of files in it may be no UTF-8."""
    return os.fsencode(message).decode(errors="replace")


def _text(filename: object) -> str:
    return os.fsdecode(filename) if isinstance(filename, (str, bytes)) else ""
