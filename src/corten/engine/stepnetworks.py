"""Networks of builds' commands: those of one build have the same namespace and address, one after another.

To make, configure and take apart a namespace is a fifth of what a small command costs the machine. Commands
of one build may share one: each builds on what the former has left anyway, and without CAP_NET_ADMIN they
cannot change it. Processes, and with them sockets, end with their command. BuildKit lends its CNI namespaces
likewise, even to other builds (util/network/cniprovider).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.networking import Attached, allocate
from corten.engine.containers.record import ContainerRecord
from corten.network.sandboxes import Sandbox


def may_share(record: ContainerRecord) -> bool:
    """Whether a command will do with a namespace that another one has had, and leaves it as it is."""
    host_config = record.host_config
    plain = host_config.network_mode == "bridge" and not record.config.labels  # one may be an egress policy
    return plain and not host_config.privileged and record.id_maps is None


@dataclass(frozen=True, slots=True)
class _Shared:
    """An attached namespace. `owner`: who has it in the ledger, the command that it was made for."""

    owner: str
    sandbox: Sandbox
    attached: Attached


class StepNetworks:
    """What builds have of networks; event loop's thread only."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._idle: dict[str, list[_Shared]] = {}

    @contextmanager
    def lent(self, build: str, container: Container) -> Iterator[Attached]:
        """A network for the time of one command of a build. Raises as `allocate` and `Members.realise`."""
        idle = self._idle.setdefault(build, [])
        shared = idle.pop() if idle else self._make(container)
        try:
            yield shared.attached
        except BaseException:  # it may not have come to its end
            self._release(shared)
            raise
        if self._idle.get(build) is idle:
            idle.append(shared)
        else:  # the build has ended
            self._release(shared)

    def leave(self, build: str) -> None:
        """The build runs no more commands."""
        for shared in self._idle.pop(build, ()):
            self._release(shared)

    def _make(self, container: Container) -> _Shared:
        members = self._context.network.members
        endpoints = allocate(self._context, container)
        assert endpoints is not None
        sandbox = members.sandbox(container.id)
        try:
            members.realise(endpoints, sandbox)
        except BaseException:
            sandbox.close()
            members.release(container.id)
            raise
        addresses = [text for each in endpoints for text, _ in each.addresses]
        return _Shared(container.id, sandbox, Attached(sandbox.netns_fd, addresses))

    def _release(self, shared: _Shared) -> None:
        shared.sandbox.close()
        self._context.network.members.release(shared.owner)
