"""Network namespaces for containers, from whoever makes them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from typing import Protocol

from corten.linux.netlink.sandbox import SandboxSpec, make_bare_sandbox, make_sandbox
from corten.linux.netlink.socket import NetlinkSocket
from corten.linux.netlink.within import in_thread

_NAME_BYTES = 4  # of random: with a prefix of up to 7 characters within IFNAMSIZ's 15


class Sandbox:
    """A network namespace with lo and eth0 up, eth0 wired to a bridge but without address.

    Owns its descriptors until closed.
    netns_fd: the namespace, for the container's init to join; socket_fd: a NETLINK_ROUTE socket inside;
    resolver_fds: UDP and TCP socket of the container's resolver, or (). host_ifname: the veth's end on the
    host. Closing the last descriptor (and process) frees it all.
    """

    __slots__ = ("_fds", "host_ifname", "netns_fd", "resolver_fds", "socket_fd")

    def __init__(self, fds: Sequence[int], host_ifname: str) -> None:
        self._fds = tuple(fds)
        self.netns_fd, self.socket_fd, *further = self._fds
        self.resolver_fds = tuple(further)
        self.host_ifname = host_ifname

    def close(self) -> None:
        """Close the descriptors; closing twice is harmless."""
        for fd in self._fds:
            os.close(fd)
        self._fds = self.resolver_fds = ()
        self.netns_fd = self.socket_fd = -1

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class SandboxPool(Protocol):
    """A source of sandboxes. The janitor's keeps some ready."""

    def take(self) -> Sandbox:
        """A sandbox nobody else has; the caller closes it. Raises OSError."""


class BareMaker:
    """Makes a sandbox with nothing but lo inside; its `host_ifname` is ""."""

    def take(self) -> Sandbox:
        """A new sandbox. Raises OSError."""
        return in_thread(lambda: Sandbox(make_bare_sandbox(resolver=True), ""))


class SandboxMaker:
    """Makes a sandbox when asked, in a thread of its own, for only that thread changes its namespace."""

    def __init__(self, spec: SandboxSpec, link_prefix: str) -> None:
        self._spec = spec
        self._prefix = link_prefix

    def take(self) -> Sandbox:
        """A new sandbox (about half a millisecond). Raises OSError."""

        def make() -> Sandbox:
            name = new_host_ifname(self._prefix)
            with NetlinkSocket() as host:
                return Sandbox(make_sandbox(host, self._spec, name), name)

        return in_thread(make)


def new_host_ifname(prefix: str) -> str:
    """A fresh name for the host's end of a veth: the engine's prefix and 8 hex digits."""
    return prefix + secrets.token_hex(_NAME_BYTES)
