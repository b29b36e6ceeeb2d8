"""The log writer: reads what containers print, writes it down, and copies it to who is attached.

Requests: add (from the supervisor, with descriptors), attach (from the engine; answered with a socket),
close_stdin, drop, dump (everything held, for a supervisor that starts anew), follow (be told of the
event {"event": "drained", "id"}), shutdown.
"""

from __future__ import annotations

import os
import socket

from corten.supervisor.companions import listening_socket
from corten.supervisor.json_file import JsonFile, split_lines
from corten.supervisor.loop import Loop
from corten.supervisor.outputs import Output, Subscriber
from corten.supervisor.peers import Listener, Peer, RequestError
from corten.supervisor.process import become_daemon, raise_nofile, report
from corten.supervisor.staging import Staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_FAREWELL_CHECK_S = 0.02
_FAREWELL_CHECKS = 100


class LogWriter:
    """State and request handlers."""

    def __init__(self, listener: socket.socket, staging: Staging) -> None:
        self.loop = Loop(report)
        self.staging = staging
        self.outputs: dict[str, Output] = {}
        self.waiting: dict[str, list[Subscriber]] = {}  # attached before the task was started
        self.followers: list[Peer] = []
        self.handlers = {
            "add": self._add,
            "attach": self._attach,
            "close_stdin": self._close_stdin,
            "drop": self._drop,
            "dump": self._dump,
            "follow": self._follow,
            "shutdown": self._shutdown,
        }
        self.listener = Listener(self.loop, listener, self._request, self._gone)

    def _request(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        handler = self.handlers.get(request.get("op", ""))
        if handler is None:
            raise RequestError("system", f"unknown request {request.get('op')!r}")
        handler(peer, request, fds)

    def _gone(self, peer: Peer) -> None:
        if peer in self.followers:
            self.followers.remove(peer)

    def _follow(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        self.followers.append(peer)

    def _add(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        task_id = request["id"]
        old = self.outputs.pop(task_id, None)
        if old is not None:
            old.close()
        named = dict(zip(request["fds"], fds, strict=True))
        fds.clear()
        subscribers = self.waiting.pop(task_id, [])
        self.outputs[task_id] = Output(
            self.loop, self.staging, task_id, request["log"], named, subscribers, self._drained
        )

    def _drained(self, output: Output) -> None:
        for peer in list(self.followers):
            peer.send({"event": "drained", "id": output.id})

    def _attach(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        task_id = request["id"]
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        streams = {number for number, name in ((1, "stdout"), (2, "stderr")) if request.get(name)}
        subscriber = Subscriber(self.loop, mine, streams, lambda: self._changed(task_id))
        output = self.outputs.get(task_id)
        if output is None or output.drained:
            self.waiting.setdefault(task_id, []).append(subscriber)
        else:
            output.subscribers.append(subscriber)
        peer.answer(request, {}, [theirs.fileno()])
        theirs.close()

    def _changed(self, task_id: str) -> None:
        output = self.outputs.get(task_id)
        if output is not None:
            output.regulate()
        waiting = [s for s in self.waiting.get(task_id, ()) if not s.gone]
        if waiting:
            self.waiting[task_id] = waiting
        else:
            self.waiting.pop(task_id, None)

    def _close_stdin(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        output = self.outputs.get(request["id"])
        if output is not None and "stdin" in output.fds:
            os.close(output.fds.pop("stdin"))

    def _drop(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        for task_id in request["ids"]:
            output = self.outputs.get(task_id)
            if output is not None and output.drained:
                self.outputs.pop(task_id).close()

    def _dump(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        self.listener.catch_up(but=peer)  # an earlier supervisor's last words come first
        for output in self.outputs.values():
            held = {"id": output.id, "fds": list(output.fds), "drained": output.drained}
            peer.answer(request, held, list(output.fds.values()))
        peer.answer(request, {"end": True})

    def _shutdown(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """End; with an heir once servers have what is on its way to them. Output waits in its pipes."""
        if not request.get("heir"):
            self.loop.running = False
            return
        for output in self.outputs.values():
            output.close()
        self._end_when_sent(_FAREWELL_CHECKS)

    def _end_when_sent(self, checks: int) -> None:
        if checks and any(output.sending for output in self.outputs.values()):
            self.loop.after(_FAREWELL_CHECK_S, lambda: self._end_when_sent(checks - 1))
            return
        self.listener.close()
        self.loop.running = False


def finish_write(staging: Staging) -> None:
    """Bring into its log what a log writer before us had begun to."""
    left = staging.left()
    if left is not None and left.log.get("path"):
        file = JsonFile(left.log, on_write=staging.writing)
        try:
            if left.sizes is None or file.undo(*left.sizes):
                lines, rest = split_lines(left.data)
                file.write(left.stream, [*lines, left.data[len(left.data) - rest :]] if rest else lines)
        finally:
            file.close()
    staging.dispose()


def main(exec_root: str, listen_fd: int) -> None:
    """The process's entry point."""
    become_daemon("corten-logs")
    raise_nofile()
    staging = Staging(exec_root)
    finish_write(staging)
    LogWriter(listening_socket(listen_fd), staging).loop.run()
