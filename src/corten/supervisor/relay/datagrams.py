"""UDP: every client has a socket of its own towards the container, as long as either of them speaks."""

from __future__ import annotations

import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
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

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int]) -> None:
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
        loop.watch(listener.fileno(), self._readable)
        self._sweep()

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, control, _, peer = self.listener.recvmsg(_MOST_BYTES, _CONTROL_BYTES)
            except OSError:
                return
            control = [each for each in control if each[1] in (_IP_PKTINFO, _IPV6_PKTINFO)]
            key = (peer, control[0][2] if control else b"")
            flow = self._flows.pop(key, None) or self._new_flow(key[0], control)
            if flow is not None:
                self._flows[key] = flow
                flow.send(data)

    def _new_flow(self, peer: Any, control: list[Any]) -> _Flow | None:
        if len(self._flows) >= _MOST_FLOWS:
            self._flows.pop(next(iter(self._flows))).close()
        try:
            return _Flow(self._loop, self.listener, self.target, peer, [_source(each) for each in control])
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

    def leave(self) -> None:
        """Another process reads here from now on; answers on their way through us get lost."""
        self.close()

    def close(self) -> None:
        """The port is closed."""
        self._loop.forget(self.listener.fileno())
        self.listener.close()
        for flow in self._flows.values():
            flow.close()
        self._flows.clear()


class _Flow:
    """One client's datagrams, there and back. control: sends answers from the address that was written to."""

    __slots__ = ("_control", "_listener", "_loop", "_peer", "_sock", "used_s")

    def __init__(
        self, loop: Loop, listener: socket.socket, target: tuple[str, int], peer: Any, control: list[Any]
    ) -> None:
        self._loop, self._listener, self._peer, self._control = loop, listener, peer, control
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.used_s = time.monotonic()
        try:
            self._sock.connect(target)
        except OSError:
            self._sock.close()
            raise
        loop.watch(self._sock.fileno(), self._readable)

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


def _source(control: Any) -> Any:
    """The control message that makes an answer leave from where the datagram came to: interface left open."""
    level, kind, data = control
    if kind == _IP_PKTINFO:  # struct in_pktinfo: interface, local address, address in the header
        return level, kind, bytes(4) + data[4:8] + bytes(4)
    return level, kind, data[:16] + (data[16:20] if data[:2] == b"\xfe\x80" else bytes(4))
