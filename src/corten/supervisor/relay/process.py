"""The engine's requests, and the process's life.

listen: a port, at first with its socket; without, if only the target is another one. drop: the port has gone.
begin: everything will be told anew; answered with the ports that are held here; what has not been told when
`end` comes is closed. fetch: a port's socket. ping: all that was asked before has been done. inherit: sockets
of a relay before us, at which nobody accepts until `listen` says where they lead. shutdown: with an heir, who
gets the ports and UDP's clients, connections that stand are served to their end.
"""

from __future__ import annotations

import gc
import os
import socket

from corten.supervisor.companions import bequests, listening_socket
from corten.supervisor.loop import Loop
from corten.supervisor.peers import Listener, Peer, RequestError
from corten.supervisor.process import become_daemon, raise_nofile, report
from corten.supervisor.relay.datagrams import DatagramPort
from corten.supervisor.relay.streams import StreamPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_UNUSED_CHECK_S = 0.2


class _Inherited:
    """A port's socket, and what its clients have (`DatagramPort.bequest`)."""

    __slots__ = ("clients", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.clients: list[tuple[Any, int]] = []

    def bequest(self) -> list[tuple[Any, int]]:
        """As of a port that is served: the next heir may come before we know where this one leads."""
        return self.clients

    def close(self) -> None:
        """The port has gone."""
        for fd in (self.fd, *(each for _, each in self.clients)):
            os.close(fd)


class Relay:
    """State and request handlers."""

    def __init__(self, listener: socket.socket) -> None:
        self.loop = Loop(report)
        self.ports: dict[str, StreamPort | DatagramPort] = {}
        self._told: set[str] | None = None  # between `begin` and `end`
        self._unserved: dict[str, _Inherited] = {}  # ports whose target we don't know yet
        self.listener = Listener(self.loop, listener, self._request, lambda peer: None)
        self._handlers = {
            "listen": self._listen,
            "drop": self._drop,
            "begin": self._begin,
            "end": self._end,
            "ping": self._ping,
            "inherit": self._inherit,
        }

    def _request(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        if request.get("op") == "fetch":
            held = self._held().get(request["port"])
            if held is None:
                raise RequestError("not-found", f"no such port: {request['port']}")
            peer.answer(request, {}, [held])
            return
        if request.get("op") == "shutdown":
            self._shutdown(peer, heir=bool(request.get("heir")))
            return
        if request.get("op") == "begin":
            self.listener.catch_up(but=peer)  # the supervisor's: what there is to inherit
        handler = self._handlers.get(request.get("op", ""))
        if handler is None:
            raise RequestError("system", f"unknown request {request.get('op')!r}")
        peer.answer(request, handler(request, fds) or {})

    def _listen(self, request: dict[str, Any], fds: list[int]) -> None:
        key, target = request["port"], (request["address"], request["number"])
        if self._told is not None:
            self._told.add(key)
        inherited = self._unserved.pop(key, None)
        clients = []
        if inherited is not None:
            fds.append(inherited.fd)
            clients = inherited.clients
        if fds:
            self._close(key)
            listener = socket.socket(fileno=fds.pop(0))
            if listener.type == socket.SOCK_STREAM:
                self.ports[key] = StreamPort(self.loop, listener, target)
            else:
                self.ports[key] = DatagramPort(self.loop, listener, target, clients)
        elif key in self.ports:
            self.ports[key].target = target

    def _drop(self, request: dict[str, Any], fds: list[int]) -> None:
        self._close(request["port"])

    def _close(self, key: str) -> None:
        port = self.ports.pop(key, None)
        if port is not None:
            port.close()
        inherited = self._unserved.pop(key, None)
        if inherited is not None:
            inherited.close()

    def _held(self) -> dict[str, int]:
        """The sockets of all ports."""
        held = {key: port.listener.fileno() for key, port in self.ports.items()}
        return held | {key: inherited.fd for key, inherited in self._unserved.items()}

    def _begin(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        self._told = set()
        return {"held": list(self._held())}

    def _end(self, request: dict[str, Any], fds: list[int]) -> None:
        told, self._told = self._told, None
        if told is not None:
            for key in self._held().keys() - told:
                self._close(key)

    def _ping(self, request: dict[str, Any], fds: list[int]) -> None:
        """Nothing to do."""

    def _inherit(self, request: dict[str, Any], fds: list[int]) -> None:
        for key, _ in request["inherit"]:
            if isinstance(key, str):
                self._unserved[key] = _Inherited(fds.pop(0))
            else:
                port, client = key
                self._unserved[port].clients.append((client, fds.pop(0)))

    def _shutdown(self, peer: Peer, *, heir: bool) -> None:
        if not heir:
            self.loop.running = False
            return
        held: list[tuple[Any, list[int]]] = [(key, [fd]) for key, fd in self._held().items()]
        for key, each in (self.ports | self._unserved).items():
            held += [((key, client), [fd]) for client, fd in each.bequest()]
        for message, fds in bequests(held):
            peer.send(message, fds)
        peer.send_rest()
        self.listener.close()
        left = list(self.ports.values())
        for port in left:
            port.leave()
        self._end_when_unused(left)

    def _end_when_unused(self, left: list[StreamPort | DatagramPort]) -> None:
        if any(port.in_use for port in left):
            self.loop.after(_UNUSED_CHECK_S, lambda: self._end_when_unused(left))
        else:
            self.loop.running = False


def main(exec_root: str, listen_fd: int) -> None:
    """The process's entry point."""
    become_daemon("corten-relay")
    raise_nofile()
    relay = Relay(listening_socket(listen_fd))
    gc.collect()
    gc.freeze()
    relay.loop.run()
