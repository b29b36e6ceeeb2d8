"""The janitor: does what may stall, one thing at a time, so that nobody else has to wait.

Requests: clean (a cgroup, and descriptors whose closing is slow), settle (be answered when a cgroup has
been cleaned), unclean (which have not been yet), sweep (empty cgroups of unknown tasks), discard (a directory
tree), unbundle (what another OCI runtime leaves), sandbox (make a network namespace with its veth pair;
answered with descriptors), bare_sandbox (with lo only), owned_sandbox (as that, of a user namespace, new or
given), shutdown.
"""

from __future__ import annotations

import errno
import os
import socket

from corten.linux import cgroups, mounts
from corten.linux.deletion import delete_tree
from corten.linux.idmap import network_in, owned_network
from corten.linux.netlink.sandbox import SandboxSpec, make_bare_sandbox, make_sandbox
from corten.linux.netlink.socket import NetlinkSocket
from corten.supervisor.companions import listening_socket
from corten.supervisor.loop import Loop
from corten.supervisor.peers import Listener, Peer, RequestError
from corten.supervisor.process import become_daemon, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RETRIES = 100
_RETRY_S = 0.05
_ID_LENGTH = 64
_HEX = frozenset("0123456789abcdef")


class Janitor:
    """State and request handlers."""

    def __init__(self, listener: socket.socket) -> None:
        self.loop = Loop(report)
        self.cgroups = cgroups.manager()
        self.route = NetlinkSocket()
        self.listener = Listener(self.loop, listener, self._request, lambda peer: None)
        self._unclean: set[str] = set()  # cgroups whose cleaning has not happened yet
        self._settling: list[tuple[Peer, dict[str, Any]]] = []
        self._work = 0
        self._ending = False

    def _request(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        operation = request.get("op")
        if operation == "clean":
            held = list(fds)
            fds.clear()
            # Once is enough; a second time might be after the cgroup has been made again.
            again = request["cgroup"] in self._unclean
            self._unclean.add(request["cgroup"])
            self._later(lambda: self._clean(None if again else request["cgroup"], held))
        elif operation == "settle":
            self._settle(peer, request)
        elif operation == "unclean":
            self.listener.catch_up(but=peer)  # what an earlier supervisor has asked for comes first
            peer.answer(request, {"unclean": list(self._unclean)})
        elif operation == "sweep":
            self._sweep(request["parent"], set(request["keep"]))
        elif operation == "discard":
            self._later(lambda: discard(request["path"]))
        elif operation == "unbundle":
            self._later(lambda: unbundle(request["argv"], request["path"]))
        elif operation == "sandbox":
            self._sandbox(peer, request)
        elif operation == "bare_sandbox":
            self._give(peer, request, make_bare_sandbox(resolver=False))
        elif operation == "owned_sandbox":
            self._owned_sandbox(peer, request, fds)
        elif operation == "shutdown":
            self._ending = True
            self._maybe_end()
        else:
            raise RequestError("system", f"unknown request {operation!r}")

    def _later(self, work: Any) -> None:
        self._work += 1

        def run() -> None:
            try:
                work()
            finally:
                self._work -= 1
                self._maybe_end()

        self.loop.when_idle(run)

    def _maybe_end(self) -> None:
        if self._ending and not self._work and self.loop.running:
            self.listener.close()
            self.loop.running = False

    def _clean(self, cgroup: str | None, held: list[int], attempt: int = 0) -> None:
        for fd in held:
            os.close(fd)
        if cgroup is None:
            return
        try:
            if attempt == 1:
                self.cgroups.kill_all(cgroup)
            self.cgroups.remove(cgroup)
        except OSError as e:
            if e.errno != errno.EBUSY or attempt >= _RETRIES:
                self._cleaned(cgroup)
                raise
            self._work += 1

            def again() -> None:
                self._work -= 1
                self._later(lambda: self._clean(cgroup, [], attempt + 1))

            self.loop.after(_RETRY_S, again)
            return
        self._cleaned(cgroup)

    def _cleaned(self, cgroup: str) -> None:
        """It is gone, or will not go."""
        self._unclean.discard(cgroup)
        for waiting in [w for w in self._settling if w[1]["cgroup"] == cgroup]:
            self._settling.remove(waiting)
            waiting[0].answer(waiting[1], {})

    def _settle(self, peer: Peer, request: dict[str, Any]) -> None:
        """Answer as soon as a cgroup is gone that was to be cleaned: its name is wanted again."""
        if request["cgroup"] in self._unclean:
            self._settling.append((peer, request))
        else:
            peer.answer(request, {})

    def _sweep(self, parent: str, keep: set[str]) -> None:
        """Remove what earlier lives left: cgroups of tasks (64 hex digits) that nobody knows, if empty."""
        for name in self.cgroups.children(parent):
            if len(name) == _ID_LENGTH and name not in keep and not set(name) - _HEX:
                self._later(lambda name=name: self._remove_if_empty(f"{parent}/{name}"))

    def _remove_if_empty(self, cgroup: str) -> None:
        try:
            self.cgroups.remove(cgroup)
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise

    def _sandbox(self, peer: Peer, request: dict[str, Any]) -> None:
        spec = SandboxSpec(
            request["bridge_index"],
            request["mtu"],
            isolated=request["isolated"],
            resolver=request["resolver"],
        )
        self._give(peer, request, make_sandbox(self.route, spec, request["host_ifname"]))

    def _owned_sandbox(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        netns_fd = network_in(fds[0]) if fds else owned_network(request["uids"], request["gids"])
        try:
            made = make_bare_sandbox(resolver=True, netns_fd=netns_fd)
        finally:
            os.close(netns_fd)
        self._give(peer, request, made)

    @staticmethod
    def _give(peer: Peer, request: dict[str, Any], made: list[int]) -> None:
        peer.answer(request, {}, made)
        for fd in made:
            os.close(fd)


def discard(path: str) -> None:
    """Remove a directory tree that has been renamed away from everybody. What cannot go stays."""
    try:
        delete_tree(path)
    except OSError as e:
        report(e)


def unbundle(argv: list[str], path: str) -> None:
    """Let another OCI runtime forget a container; unmount and remove its bundle."""
    try:
        os.waitpid(os.posix_spawn(argv[0], argv, dict(os.environ)), 0)
    except OSError:
        pass  # the runtime has been uninstalled: what it kept is in our directories
    try:
        mounts.umount2(f"{path}/rootfs", mounts.MNT_DETACH)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOENT):
            raise
    discard(path)


def main(exec_root: str, listen_fd: int) -> None:
    """The process's entry point."""
    become_daemon("corten-janitor")
    Janitor(listening_socket(listen_fd)).loop.run()
