"""The engine's side of the worker processes. Blocking calls; any thread."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from corten.errors import CortenError, InternalError, Unavailable
from corten.linux import seqpacket

Answer: TypeAlias = "dict[str, object]"

# -I -S: nothing of the user's environment or of `site`; our own import path is given instead.
_BOOT = (
    "import json, socket, sys; sys.path[:] = json.loads(sys.argv[2]);"
    "from corten.snapshots.workers.nursery import main;"
    "main(socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[3]))"
)


class JobFailed(InternalError):
    """A job ended without an answer, or with an error nobody foresaw."""


class WorkerPool:
    """Runs jobs in child processes, at most `limit` at a time.

    `preload`: modules whose jobs are so frequent that their import should not cost each of them.
    """

    def __init__(self, limit: int | None = None, *, preload: Sequence[str] = ()) -> None:
        self._preload = list(preload)
        self._limit = limit or max(2, os.cpu_count() or 2)
        self._slots = threading.BoundedSemaphore(self._limit)
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._nursery: subprocess.Popen[bytes] | None = None
        self._closed = False

    def run(
        self,
        job: str,
        params: Mapping[str, object],
        fds: Sequence[int] = (),
        on_progress: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Run `job` ("module:function") to its end and return its answer.

        fds stay the caller's. Raises what the job raised (OSError and CortenErrors as themselves), and
        JobFailed if it was killed.
        """
        return self.start(job, params, fds).wait(on_progress)

    def start(
        self, job: str, params: Mapping[str, object], fds: Sequence[int] = (), *, bounded: bool = True
    ) -> Job:
        """Begin a job as soon as there is room; `Job.wait` must follow.

        bounded=False: at once. For jobs that wait for clients, who must not keep others from working; their
        number is the caller's to bound.
        """
        release = self._slots.release if bounded else _nothing
        if bounded:
            self._slots.acquire()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            message = json.dumps({"job": job, "params": params}).encode()
            self._send(message, [theirs.fileno(), *fds])
        except BaseException:
            ours.close()
            release()
            raise
        finally:
            theirs.close()
        return Job(job, ours, release)

    def _send(self, message: bytes, fds: list[int]) -> None:
        with self._lock:
            if self._control is not None:
                try:
                    seqpacket.send(self._control, message, fds)
                    return
                except (BrokenPipeError, ConnectionResetError):
                    self._reap()  # the nursery was killed: its jobs died with it, the next one lives
            if self._closed:
                raise Unavailable("the engine is shutting down")
            self._control = self._spawn()
            seqpacket.send(self._control, message, fds)

    def _spawn(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._nursery = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _BOOT,
                    str(theirs.fileno()),
                    json.dumps(sys.path),
                    json.dumps(self._preload),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                close_fds=True,
            )
        return ours

    def _reap(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._nursery is not None:
            self._nursery.wait()
            self._nursery = None

    def close(self) -> None:
        """End the workers; jobs that still run are killed."""
        with self._lock:
            self._closed = True
            self._reap()


def _nothing() -> None: ...


class Job:
    """A running job; the pool's slot is free again when `wait` returns."""

    def __init__(self, name: str, channel: socket.socket, release: Callable[[], None]) -> None:
        self._name = name
        self._channel = channel
        self._release = release
        self._pidfd = -1
        self._lock = threading.Lock()
        self._killed = False

    def kill(self) -> None:
        """End it at once; `wait` then raises JobFailed. Any thread, also before it has begun."""
        with self._lock:
            self._killed = True
            if self._pidfd >= 0:
                self._signal()

    def _signal(self) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def wait(self, on_progress: Callable[[Answer], None] | None = None) -> Answer:
        """The job's answer; progress is handed over as it comes, on the calling thread."""
        try:
            while True:
                data, fds = seqpacket.receive(self._channel)
                if fds:
                    self._begun(fds)
                    continue
                if not data:
                    raise JobFailed(f"worker process for {self._name.rpartition(':')[2]} was killed")
                message: Answer = json.loads(data)
                if "progress" in message:
                    if on_progress is not None:
                        on_progress(_mapping(message["progress"]))
                elif "error" in message:
                    raise _error(_mapping(message["error"]))
                else:
                    return _mapping(message["result"])
        except BaseException:
            self.kill()
            raise
        finally:
            self._channel.close()
            with self._lock:
                if self._pidfd >= 0:
                    os.close(self._pidfd)
                    self._pidfd = -1
            self._release()

    def _begun(self, fds: list[int]) -> None:
        with self._lock:
            self._pidfd = fds[0]
            if self._killed:
                self._signal()


def _mapping(value: object) -> Answer:
    if not isinstance(value, dict):
        raise JobFailed("worker process answered nonsense")
    return value


def _error(description: Answer) -> Exception:
    kind, message = str(description["kind"]), str(description["message"])
    if kind == "OSError":
        number = description.get("errno")
        return OSError(number if isinstance(number, int) else 0, message, description.get("path") or None)
    module, _, name = kind.partition(":")
    if module.startswith("corten."):
        found = getattr(importlib.import_module(module), name, None)
        if isinstance(found, type) and issubclass(found, CortenError):
            # Not through __init__: subclasses take facts there, not the message.
            error = found.__new__(found)
            Exception.__init__(error, message)
            return error
    return JobFailed(message)
