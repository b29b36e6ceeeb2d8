"""Ports of the host: reserved for us by sockets that (but in the mode "socket") nobody ever connects to.

The kernel forwards published ports by NAT, before it looks for sockets. A bound (TCP: listening) socket
in the engine still makes other programs' bind(2) fail, finds out whether the port is free, and shows up
in ss(8). Connections reach it only while the firewall table has no element for the port.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from itertools import chain

from corten.errors import InternalError, NotSupported
from corten.linux.netlink import sysctl
from corten.network.values import NAT, PROTOCOLS, SOCKET, PortBinding, PortRequest

_BACKLOG = 4096  # connections that the relay has not accepted yet
_FALLBACK_RANGE = (32768, 60999)  # the kernel's own default, for when /proc is not readable

_SOCKET_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "sctp": socket.SOCK_STREAM}


class PortUnavailable(InternalError):
    """The port is taken, or cannot be bound on this host (500, as Docker answers)."""


class HeldPort:
    """A port that is ours until `close`."""

    __slots__ = ("_socket", "binding")

    def __init__(self, binding: PortBinding, sock: socket.socket) -> None:
        self.binding = binding
        self._socket = sock

    def fileno(self) -> int:
        """The socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the port back; closing twice is harmless."""
        self._socket.close()


class PortAllocator:
    """Chooses and holds host ports. Knows which are ours, for Docker's choice of words."""

    def __init__(self, ephemeral: tuple[int, int] | None = None) -> None:
        """`ephemeral`: first and last port given to those who ask for any (default: the kernel's)."""
        self._first, self._last = ephemeral or _ephemeral_range()
        self._next = self._first
        self._held: dict[tuple[str, int], int] = {}  # how many of our bindings use it, on any address

    def hold(
        self, request: PortRequest, host_addresses: Sequence[str], container_address: str
    ) -> list[HeldPort]:
        """Reserve the same host port on all the addresses.

        Raises PortUnavailable with Docker's words if none (of the range) can be had.
        """
        failure: PortUnavailable | None = None
        for host_port in self._candidates(request):
            held: list[HeldPort] = []
            try:
                for address in host_addresses:
                    held.append(self._bound(request, address, host_port))
            except OSError as error:
                binding = _binding(request, host_addresses[len(held)], host_port)
                failure = self._failure(binding, container_address, error)
                for each in held:
                    each.close()
                if error.errno != errno.EADDRINUSE:
                    raise failure from error
                continue
            key = (request.protocol, host_port)
            self._held[key] = self._held.get(key, 0) + len(held)
            if not request.first_host_port:
                self._next = host_port + 1
            return held
        if failure is not None and request.first_host_port == request.last_host_port != 0:
            raise failure
        raise PortUnavailable("all ports are allocated")

    def _bound(self, request: PortRequest, address: str, host_port: int) -> HeldPort:
        binding = _binding(request, address, host_port)
        return HeldPort(binding, _bind(binding, backlog=_BACKLOG if binding.mode == SOCKET else 0))

    def adopt(self, binding: PortBinding, fd: int) -> HeldPort:
        """A port that another process holds for us, by a duplicate of its socket `fd`."""
        key = (binding.protocol, binding.host_port)
        self._held[key] = self._held.get(key, 0) + 1
        return HeldPort(binding, socket.socket(fileno=os.dup(fd)))

    def release(self, held: HeldPort) -> None:
        """Give the port back."""
        held.close()
        key = (held.binding.protocol, held.binding.host_port)
        left = self._held.get(key, 0) - 1
        if left > 0:
            self._held[key] = left
        else:
            self._held.pop(key, None)

    def _candidates(self, request: PortRequest) -> Iterable[int]:
        if request.first_host_port:
            return range(request.first_host_port, request.last_host_port + 1)
        start = self._next if self._first <= self._next <= self._last else self._first
        return chain(range(start, self._last + 1), range(self._first, start))

    def _failure(self, binding: PortBinding, container_address: str, error: OSError) -> PortUnavailable:
        host = f"{_bracketed(binding.host_address)}:{binding.host_port}"
        if error.errno == errno.EADDRINUSE and (binding.protocol, binding.host_port) in self._held:
            return PortUnavailable(f"Bind for {host} failed: port is already allocated")
        reason = os.strerror(error.errno or errno.EIO).lower()
        target = f"{_bracketed(container_address)}:{binding.container_port}/{binding.protocol}"
        return PortUnavailable(f"failed to bind host port for {host}:{target}: {reason}")


def _binding(request: PortRequest, host_address: str, host_port: int) -> PortBinding:
    return PortBinding(
        protocol=request.protocol,
        container_port=request.container_port,
        host_address=host_address,
        host_port=host_port,
        mode=request.mode or NAT,
    )


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _bind(binding: PortBinding, *, backlog: int) -> socket.socket:
    """The socket of a port; without a backlog nobody will ever come to it."""
    protocol, address, port = binding.protocol, binding.host_address, binding.host_port
    kind = _SOCKET_TYPES[protocol] | socket.SOCK_CLOEXEC
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, kind, PROTOCOLS[protocol])
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise NotSupported(
                f"this kernel has no {protocol.upper()}; cannot publish {protocol} ports"
            ) from error
        raise
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":  # else TIME_WAIT connections of a predecessor would keep us out
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if protocol != "udp":
            sock.listen(backlog or 1)
        elif not backlog:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # nobody reads
    except BaseException:
        sock.close()
        raise
    return sock


def _ephemeral_range() -> tuple[int, int]:
    try:
        return sysctl.local_port_range()
    except OSError:
        return _FALLBACK_RANGE
