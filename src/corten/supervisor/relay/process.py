"""The engine's requests, and the process's life.

listen: a port, at first with its socket; without, if only the target is another one. drop: the port has gone.
begin: everything will be told anew; answered with the ports that are held here; what has not been told when
`end` comes is closed. fetch: a port's socket. ping: all that was asked before has been done. shutdown.
"""

from __future__ import annotations

import gc
import socket

from corten.supervisor.companions import listening_socket
from corten.supervisor.loop import Loop
from corten.supervisor.peers import Listener, Peer, RequestError
from corten.supervisor.process import become_daemon, raise_nofile, report
from corten.supervisor.relay.datagrams import DatagramPort
from corten.supervisor.relay.streams import StreamPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Relay:
    """State and request handlers."""

    def __init__(self, listener: socket.socket) -> None:
        self.loop = Loop(report)
        self.ports: dict[str, StreamPort | DatagramPort] = {}
        self._told: set[str] | None = None  # between `begin` and `end`
        self.listener = Listener(self.loop, listener, self._request, lambda peer: None)
        self._handlers = {
            "listen": self._listen,
            "drop": self._drop,
            "begin": self._begin,
            "end": self._end,
            "ping": self._ping,
            "shutdown": self._shutdown,
        }

    def _request(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        if request.get("op") == "fetch":
            port = self.ports.get(request["port"])
            if port is None:
                raise RequestError("not-found", f"no such port: {request['port']}")
            peer.answer(request, {}, [port.listener.fileno()])
            return
        handler = self._handlers.get(request.get("op", ""))
        if handler is None:
            raise RequestError("system", f"unknown request {request.get('op')!r}")
        peer.answer(request, handler(request, fds) or {})

    def _listen(self, request: dict[str, Any], fds: list[int]) -> None:
        key, target = request["port"], (request["address"], request["number"])
        if self._told is not None:
            self._told.add(key)
        if fds:
            self._close(key)
            listener = socket.socket(fileno=fds.pop())
            kind = StreamPort if listener.type == socket.SOCK_STREAM else DatagramPort
            self.ports[key] = kind(self.loop, listener, target)
        elif key in self.ports:
            self.ports[key].target = target

    def _drop(self, request: dict[str, Any], fds: list[int]) -> None:
        self._close(request["port"])

    def _close(self, key: str) -> None:
        port = self.ports.pop(key, None)
        if port is not None:
            port.close()

    def _begin(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        self._told = set()
        return {"held": list(self.ports)}

    def _end(self, request: dict[str, Any], fds: list[int]) -> None:
        told, self._told = self._told, None
        if told is not None:
            for key in self.ports.keys() - told:
                self._close(key)

    def _ping(self, request: dict[str, Any], fds: list[int]) -> None:
        """Nothing to do."""

    def _shutdown(self, request: dict[str, Any], fds: list[int]) -> None:
        self.loop.running = False


def main(exec_root: str, listen_fd: int) -> None:
    """The process's entry point."""
    become_daemon("corten-relay")
    raise_nofile()
    relay = Relay(listening_socket(listen_fd))
    gc.collect()
    gc.freeze()
    relay.loop.run()
