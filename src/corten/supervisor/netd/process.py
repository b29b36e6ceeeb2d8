"""The engine's requests, and the process's life.

join and leave: an endpoint and its names. serve: a container's view, at first with its sockets. drop: the
container has gone. begin: everything will be told anew; answered with the containers whose sockets are held
here; until `end` the old names are valid. grant: the sets of egress policies are new and empty. inherit:
sockets of a netd before us, which nobody reads until `serve` says what to answer. shutdown.
"""

from __future__ import annotations

import functools
import gc
import os
import socket

from corten.supervisor.companions import bequests, listening_socket
from corten.supervisor.loop import Loop
from corten.supervisor.netd.egress import Egress
from corten.supervisor.netd.forward import Forwarder
from corten.supervisor.netd.names import Names, View
from corten.supervisor.netd.server import Server
from corten.supervisor.peers import Listener, Peer, RequestError
from corten.supervisor.process import become_daemon, raise_nofile, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Netd:
    """State and request handlers."""

    def __init__(self, listener: socket.socket) -> None:
        self.loop = Loop(report)
        self.names = Names()
        self.servers: dict[str, Server] = {}  # by the beginning of the container's id
        self._coming: Names | None = None  # between `begin` and `end`
        self._views: dict[str, View] = {}
        self._unread: dict[str, list[int]] = {}  # sockets of those whom nobody answers yet
        self._forwarder = Forwarder(self.loop)
        self.listener = Listener(self.loop, listener, self._request, lambda peer: None)
        self._handlers = {
            "join": self._join,
            "leave": self._leave,
            "serve": self._serve,
            "drop": self._drop,
            "begin": self._begin,
            "end": self._end,
            "grant": self._grant_again,
            "inherit": self._inherit,
        }

    def _request(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        if request.get("op") == "shutdown":
            self._shutdown(peer, heir=bool(request.get("heir")))
            return
        if request.get("op") == "begin":
            self.listener.catch_up(but=peer)  # the supervisor's: what there is to inherit
        handler = self._handlers.get(request.get("op", ""))
        if handler is None:
            raise RequestError("system", f"unknown request {request.get('op')!r}")
        result = handler(request, fds)
        peer.answer(request, result or {})

    def _join(self, request: dict[str, Any], fds: list[int]) -> None:
        self._current().join(
            request["network"],
            request["network_name"],
            request["endpoint"],
            request["names"],
            _packed(request["ipv4"]),
            _packed(request["ipv6"]),
        )

    def _leave(self, request: dict[str, Any], fds: list[int]) -> None:
        self._current().leave(request["endpoint"])

    def _current(self) -> Names:
        return self.names if self._coming is None else self._coming

    def _serve(self, request: dict[str, Any], fds: list[int]) -> None:
        key = request["container"]
        view = View(
            request["networks"],
            request["servers"],
            own=request["own"],
            dotted=request["dotted"],
            links=request["links"],
            egress=Egress(*request["egress"]) if request.get("egress") else None,
        )
        if fds:
            self._close(key)
            self._unread[key] = list(fds)
            fds.clear()
        if self._coming is not None:
            self._views[key] = view  # answers are other ones only when we have been told everything
        else:
            self._answer(key, view)

    def _answer(self, key: str, view: View) -> None:
        """Answer a container in this way from now on."""
        fds = self._unread.pop(key, None)
        if fds is not None:
            netns_fd = fds[2] if len(fds) > 2 else -1
            server = Server(self.loop, self.names, self._forwarder, view, fds[:2], netns_fd)
            server.on_refused = functools.partial(self._refused, key)
            self.servers[key] = server
        elif key in self.servers:
            self.servers[key].change(self.names, view)

    def _refused(self, key: str, name: str) -> None:
        self.listener.broadcast({"event": "refused", "container": key, "name": name})

    def _grant_again(self, request: dict[str, Any], fds: list[int]) -> None:
        for server in self.servers.values():
            server.grants.again()

    def _drop(self, request: dict[str, Any], fds: list[int]) -> None:
        self._close(request["container"])

    def _close(self, key: str) -> None:
        server = self.servers.pop(key, None)
        if server is not None:
            server.close()
        for fd in self._unread.pop(key, ()):
            os.close(fd)

    def _begin(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        self._coming = Names()
        self._coming.version = self.names.version + 1
        self._views = {}
        return {"held": [*self.servers, *self._unread]}

    def _end(self, request: dict[str, Any], fds: list[int]) -> None:
        if self._coming is None:
            return
        self.names, self._coming = self._coming, None
        for key in {*self.servers, *self._unread} - self._views.keys():
            self._close(key)
        for key, view in self._views.items():
            self._answer(key, view)

    def _inherit(self, request: dict[str, Any], fds: list[int]) -> None:
        for key, count in request["inherit"]:
            self._unread[key] = [fds.pop(0) for _ in range(count)]

    def _shutdown(self, peer: Peer, *, heir: bool) -> None:
        """End. Our heir gets the sockets; what others have been asked for is asked for once more by whom it
        concerns, as whenever a datagram gets lost."""
        if heir:
            held = [(key, server.descriptors()) for key, server in self.servers.items()]
            for message, fds in bequests([*held, *self._unread.items()]):
                peer.send(message, fds)
            peer.send_rest()
            self.listener.close()
        self.loop.running = False


def _packed(text: str) -> bytes:
    if not text:
        return b""
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def main(exec_root: str, listen_fd: int) -> None:
    """The process's entry point."""
    become_daemon("corten-netd")
    raise_nofile()
    netd = Netd(listening_socket(listen_fd))
    gc.collect()
    gc.freeze()
    netd.loop.run()
