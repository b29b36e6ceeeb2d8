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
from corten.supervisor.loop import EDGE, READ, WRITE
from corten.supervisor.process import code_version

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
_REST_S = 2.0


class Peer:
    """One connection. Sending never blocks the loop.

    The kernel holds some 200 kB for a receiver (net.core.wmem_default). What does not fit waits here, with
    duplicates of its descriptors; a peer that never reads is dropped. What one has asked for that has died
    since is done all the same.
    """

    __slots__ = ("_backlog", "_deaf", "_held", "_loop", "_on_gone", "_on_request", "sock", "unanswered")

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
        self._held = self._deaf = False
        self.unanswered = 0  # requests of its that are being dealt with
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._ready)

    @property
    def gone(self) -> bool:
        """Whether nobody hears us any more; there may be something left to be read."""
        return self._deaf or self.sock.fileno() < 0

    def hold(self, held: bool) -> None:
        """Leave what it sends in its socket from now on; or read on."""
        self._held = held
        self._wait()

    def _wait(self) -> None:
        """Wait for what there is to do. EDGE: a held peer's end is not told again and again."""
        events = (EDGE if self._held else READ) | (WRITE if self._backlog else 0)
        self._loop.change(self.sock.fileno(), events)

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
        if self._held:
            return False
        try:
            data, fds = seqpacket.receive(self.sock)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True  # told once: it has died without reading all; what it has sent comes after this
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
            self.unanswered += "n" in message
            self._on_request(self, message, fds)
        except Exception as e:
            self.answer_failure(message, e)
        finally:
            for fd in fds:  # handlers take an fd by removing it from the list
                os.close(fd)

    def answer(
        self, request: dict[str, Any], result: dict[str, Any], fds: list[int] | tuple[int, ...] = ()
    ) -> None:
        """Answer a request, if it wants an answer."""
        if "n" in request:
            self.unanswered -= 1
            self.send({"n": request["n"], **result}, fds)

    def answer_failure(self, request: dict[str, Any], error: Exception) -> None:
        """Answer with what dealing with the request has raised; what is no RequestError is reported too."""
        if isinstance(error, RequestError):
            document = error.document
        else:
            document = RequestError("system", f"{type(error).__name__}: {error}").document
            self._loop.on_error(error)
        self.answer(request, {"error": document})

    def send(
        self,
        message: dict[str, Any],
        fds: list[int] | tuple[int, ...] = (),
        sent: Callable[[], None] | None = None,
    ) -> None:
        """Send any message. sent: called once it is the peer's, even should we die; often at once."""
        if self.gone:
            return
        data = json.dumps(message).encode()
        if not self._backlog:
            try:
                seqpacket.send(self.sock, data, fds)
            except BlockingIOError:
                pass
            except OSError:
                self._fall_silent()
                return
            else:
                if sent is not None:
                    sent()
                return
        self._backlog.append((data, [os.dup(fd) for fd in fds], sent))
        if len(self._backlog) == 1:
            self._wait()
        elif len(self._backlog) > _MAX_BACKLOG:
            self.close()

    def _flush(self) -> None:
        while self._backlog:
            data, fds, sent = self._backlog[0]
            try:
                seqpacket.send(self.sock, data, fds)
            except BlockingIOError:
                return
            except OSError:
                self._fall_silent()
                break
            del self._backlog[0]
            for fd in fds:
                os.close(fd)
            if sent is not None:
                sent()
        self._wait()

    def _fall_silent(self) -> None:
        """It hears nothing more of us. If it lives (the kernel may refuse a message) it sees that."""
        self._deaf = True
        self._drop_backlog()
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def send_rest(self) -> None:
        """Send what is left to be sent before going on; for who is about to end."""
        if self.sock.fileno() >= 0 and self._backlog:
            self.sock.settimeout(_REST_S)
            self._flush()

    def unsent(self) -> list[tuple[bytes, list[int]]]:
        """What the kernel has not taken yet, with descriptors that stay ours."""
        return [(data, fds) for data, fds, _ in self._backlog]

    def take_unsent(self, messages: list[tuple[bytes, list[int]]]) -> None:
        """Send these before anything else: a process before us could not. The descriptors become ours."""
        self._backlog = [(data, fds, None) for data, fds in messages]
        self._wait()

    def close(self) -> None:
        """Hang up."""
        if self.sock.fileno() < 0:
            return
        self._loop.forget(self.sock.fileno())
        self.sock.close()
        self._drop_backlog()
        self._on_gone(self)

    def _drop_backlog(self) -> None:
        for _, fds, _ in self._backlog:
            for fd in fds:
                os.close(fd)
        self._backlog.clear()


class Listener:
    """Accepts peers on a listening socket, from processes of our own user or root only."""

    __slots__ = ("_left", "_loop", "_on_gone", "_on_request", "peers", "sock")

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_request: Callable[[Peer, dict[str, Any], list[int]], None],
        on_gone: Callable[[Peer], None],
    ) -> None:
        self._loop, self.sock, self._on_request, self._on_gone = loop, sock, on_request, on_gone
        self.peers: list[Peer] = []
        self._left: list[Peer] = []  # gone, but what they asked for is still being done
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._accept)

    @property
    def unanswered(self) -> int:
        """How many requests are being dealt with."""
        return sum(max(peer.unanswered, 0) for peer in (*self.peers, *self._left))

    def hold(self, held: bool) -> None:
        """Take no more requests, which wait in their sockets; or go on."""
        self._loop.change(self.sock.fileno(), 0 if held else READ)
        for peer in self.peers:
            peer.hold(held)

    def take_peer(self, sock: socket.socket) -> Peer:
        """Serve somebody whose connection a process before us has accepted."""
        peer = Peer(self._loop, sock, self._request, self._gone)
        self.peers.append(peer)
        return peer

    def _request(self, peer: Peer, message: dict[str, Any], fds: list[int]) -> None:
        if message.get("op") == "version":  # whoever it is that listens here
            peer.answer(message, {"version": code_version()})
        else:
            self._on_request(peer, message, fds)

    def close(self) -> None:
        """Listen no more, then hang up on everybody: who is hung up on may listen here at once."""
        self._loop.forget(self.sock.fileno())
        self.sock.close()
        for peer in list(self.peers):
            peer.close()

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
        self.take_peer(sock)

    def _gone(self, peer: Peer) -> None:
        if peer in self.peers:
            self.peers.remove(peer)
            self._left = [each for each in (*self._left, peer) if each.unanswered > 0]
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
