"""UDP: every client has a socket of its own towards the container, as long as either of them speaks."""

from __future__ import annotations

import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from corten.supervisor.loop import Loop

_IDLE_S = 90.0  # as Docker's proxy
_SWEEP_S = 10.0
_MOST_FLOWS = 1024  # of one port; the client that has been silent for the longest time makes room
_AT_ONCE = 64
_MOST_BYTES = 65535
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
_CONTROL_BYTES = 64


class DatagramPort:
    """A bound socket, and its clients."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        target: tuple[str, int],
        inherited: Iterable[tuple[Any, int]] = (),
    ) -> None:
        """inherited: another relay's clients (`bequest`), with a descriptor each."""
        self.listener = listener
        self.target = target
        self._loop = loop
        # By the client's address and the one that it wrote to; who wrote last is last.
        self._flows: dict[Any, _Flow] = {}
        listener.setblocking(False)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        for (peer, written_to), fd in inherited:
            key = tuple(peer), bytes.fromhex(written_to)
            sock = socket.socket(fileno=fd)
            self._flows[key] = _Flow(loop, listener, sock, sock.getpeername()[:2], key)
        loop.watch(listener.fileno(), self._readable)
        self._sweep()

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, control, _, peer = self.listener.recvmsg(_MOST_BYTES, _CONTROL_BYTES)
            except OSError:
                return
            key = peer, b"".join(each[2] for each in control if each[1] in (_IP_PKTINFO, _IPV6_PKTINFO))
            flow = self._flows.pop(key, None)
            if flow is not None and flow.target != self.target:  # the container has got another address
                flow.close()
                flow = None
            flow = flow or self._new_flow(key)
            if flow is not None:
                self._flows[key] = flow
                flow.send(data)

    def _new_flow(self, key: tuple[Any, bytes]) -> _Flow | None:
        if len(self._flows) >= _MOST_FLOWS:
            self._flows.pop(next(iter(self._flows))).close()
        try:
            return _Flow(self._loop, self.listener, _connected(self.target), self.target, key)
        except OSError:
            return None  # it may try again

    def _sweep(self) -> None:
        if self.listener.fileno() < 0:
            return
        limit = time.monotonic() - _IDLE_S
        for key in [key for key, flow in self._flows.items() if flow.used_s < limit]:
            self._flows.pop(key).close()
        self._loop.after(_SWEEP_S, self._sweep)

    in_use = False

    def bequest(self) -> list[tuple[Any, int]]:
        """Our clients for another relay, and a descriptor each: what is on its way waits in the sockets."""
        return [((peer, at.hex()), flow.fileno()) for (peer, at), flow in self._flows.items()]

    def leave(self) -> None:
        """Another process goes on here, with what `bequest` has told."""
        self.close()

    def close(self) -> None:
        """The port is closed."""
        self._loop.forget(self.listener.fileno())
        self.listener.close()
        for flow in self._flows.values():
            flow.close()
        self._flows.clear()


class _Flow:
    """One client's datagrams, there and back. key: its address, and the one that it wrote to (as a control
    message has it)."""

    __slots__ = ("_control", "_listener", "_loop", "_peer", "_sock", "target", "used_s")

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        sock: socket.socket,
        target: tuple[str, int],
        key: tuple[Any, bytes],
    ) -> None:
        """sock: connected to the target, the container."""
        self._loop, self._listener, self._sock = loop, listener, sock
        self._peer, written_to = key
        self._control = _leaving_from(listener.family, written_to)
        self.target = target
        self.used_s = time.monotonic()
        loop.watch(sock.fileno(), self._readable)

    def fileno(self) -> int:
        """The socket's towards the container."""
        return self._sock.fileno()

    def send(self, data: bytes) -> None:
        """From the client."""
        self.used_s = time.monotonic()
        try:
            self._sock.send(data)
        except OSError:
            pass  # nobody is there, or the queue is full: datagrams get lost

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self._sock.recv(_MOST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # nobody was there
            self.used_s = time.monotonic()
            try:
                self._listener.sendmsg([data], self._control, 0, self._peer)
            except OSError:
                pass

    def close(self) -> None:
        """The client has been silent for long, or the port is closed."""
        self._loop.forget(self._sock.fileno())
        self._sock.close()


def _connected(target: tuple[str, int]) -> socket.socket:
    """A socket towards a container. Raises OSError."""
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.connect(target)
    except OSError:
        sock.close()
        raise
    return sock


def _leaving_from(family: int, written_to: bytes) -> list[tuple[int, int, bytes]]:
    """The control message that makes an answer leave from where the datagram came to: interface left open."""
    if not written_to:
        return []
    if family == socket.AF_INET:  # struct in_pktinfo: interface, local address, address in the header
        return [(socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + written_to[4:8] + bytes(4))]
    interface = written_to[16:20] if written_to[:2] == b"\xfe\x80" else bytes(4)
    return [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, written_to[:16] + interface)]
