"""Those who connect to one of our sockets, and the requests they send.

A request is {"n": number, "op": name, ...}; its answer {"n": number, ...} or {"n": number, "error":
{"kind", "message", ...}}. Without "n" no answer is wanted. Events carry {"event": name} and no "n".
"""

from __future__ import annotations

import json
import os
import socket
import sys

from corten.linux import seqpacket
from corten.supervisor.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.supervisor.loop import Loop


class RequestError(Exception):
    """What a request is answered with when it fails. kind: not-found, start, system."""

    def __init__(self, kind: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.document = {"kind": kind, "message": message, **facts}


_MAX_BACKLOG = 65536


class Peer:
    """One connection. Sending never blocks the loop.

    The kernel holds some 200 kB for a receiver (net.core.wmem_default). What does not fit waits here, with
    duplicates of its descriptors; a peer that never reads is dropped.
    """

    __slots__ = ("_backlog", "_loop", "_on_gone", "_on_request", "sock")

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_request: Callable[[Peer, dict[str, Any], list[int]], None],
        on_gone: Callable[[Peer], None],
    ) -> None:
        self._loop, self.sock = loop, sock
        self._on_request, self._on_gone = on_request, on_gone
        self._backlog: list[tuple[bytes, list[int], Callable[[], None] | None]] = []
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._ready)

    def _ready(self) -> None:
        if self._backlog:
            self._flush()
        if self.sock.fileno() >= 0:
            self._readable()

    def _readable(self) -> None:
        for _ in range(16):  # some fairness: other fds wait too
            if not self._read_one():
                return

    def _read_one(self) -> bool:
        """False if there is nothing (more) to read."""
        try:
            data, fds = seqpacket.receive(self.sock)
        except BlockingIOError:
            return False
        except OSError:
            data, fds = b"", []
        if not data:
            self.close()
            return False
        self._handle(data, fds)
        return self.sock.fileno() >= 0

    def catch_up(self) -> None:
        """Handle everything that has been sent to us by now."""
        while self._read_one():
            pass

    def _handle(self, data: bytes, fds: list[int]) -> None:
        message: dict[str, Any] = {}
        try:
            message = json.loads(data)
            self._on_request(self, message, fds)
        except RequestError as e:
            self.answer(message, {"error": e.document})
        except Exception as e:
            text = f"{type(e).__name__}: {e}"
            self.answer(message, {"error": {"kind": "system", "message": text}})
            self._loop.on_error(e)
        finally:
            for fd in fds:  # handlers take an fd by removing it from the list
                os.close(fd)

    def answer(
        self, request: dict[str, Any], result: dict[str, Any], fds: list[int] | tuple[int, ...] = ()
    ) -> None:
        """Answer a request, if it wants an answer."""
        if "n" in request:
            self.send({"n": request["n"], **result}, fds)

    def send(
        self,
        message: dict[str, Any],
        fds: list[int] | tuple[int, ...] = (),
        sent: Callable[[], None] | None = None,
    ) -> None:
        """Send any message. sent: called once it is the peer's, even should we die; often at once."""
        if self.sock.fileno() < 0:
            return
        data = json.dumps(message).encode()
        if not self._backlog:
            try:
                seqpacket.send(self.sock, data, fds)
            except BlockingIOError:
                self._loop.change(self.sock.fileno(), READ | WRITE)
            except OSError:
                self.close()
                return
            else:
                if sent is not None:
                    sent()
                return
        self._backlog.append((data, [os.dup(fd) for fd in fds], sent))
        if len(self._backlog) > _MAX_BACKLOG:
            self.close()

    def _flush(self) -> None:
        while self._backlog:
            data, fds, sent = self._backlog[0]
            try:
                seqpacket.send(self.sock, data, fds)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            del self._backlog[0]
            for fd in fds:
                os.close(fd)
            if sent is not None:
                sent()
        self._loop.change(self.sock.fileno(), READ)

    def close(self) -> None:
        """Hang up."""
        if self.sock.fileno() < 0:
            return
        self._loop.forget(self.sock.fileno())
        self.sock.close()
        for _, fds, _ in self._backlog:
            for fd in fds:
                os.close(fd)
        self._backlog.clear()
        self._on_gone(self)


class Listener:
    """Accepts peers on a listening socket, from processes of our own user or root only."""

    __slots__ = ("_loop", "_on_gone", "_on_request", "peers", "sock")

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_request: Callable[[Peer, dict[str, Any], list[int]], None],
        on_gone: Callable[[Peer], None],
    ) -> None:
        self._loop, self.sock, self._on_request, self._on_gone = loop, sock, on_request, on_gone
        self.peers: list[Peer] = []
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self.sock.accept()
        except OSError:
            return
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        uid = int.from_bytes(credentials[4:8], sys.byteorder)
        if uid not in (0, os.geteuid()):
            sock.close()
            return
        self.peers.append(Peer(self._loop, sock, self._on_request, self._gone))

    def _gone(self, peer: Peer) -> None:
        if peer in self.peers:
            self.peers.remove(peer)
        self._on_gone(peer)

    def catch_up(self, but: Peer) -> None:
        """Handle everything that others than this peer have sent by now."""
        for peer in list(self.peers):
            if peer is not but:
                peer.catch_up()

    def broadcast(self, message: dict[str, Any]) -> None:
        """Send to everybody connected."""
        for peer in list(self.peers):
            peer.send(message)
