"""Keeps the relay in step with the published ports of the mode "socket".

The relay holds the listening sockets with us: when it dies, no port is lost to others, and a new one gets
them again; when we die, a new engine fetches them from it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

from corten.engine.companion import Companion
from corten.engine.tasks import Background
from corten.errors import CortenError
from corten.network.controller import Controller
from corten.network.publisher import Relayed
from corten.network.values import Endpoint
from corten.runtimes.connection import Connection, ConnectionLost
from corten.runtimes.protocol import Runtime

log = logging.getLogger(__name__)


class PortRelay(Companion):
    """The engine's side of the relay."""

    role = "relay"

    def __init__(self, runtime: Runtime, network: Controller, background: Background) -> None:
        super().__init__(runtime, background)
        self._network = network
        self._told: dict[str, dict[str, Relayed]] = {}  # by container id and the port's name
        self.unsettled = False  # the relay may still have sockets of ports that were given back

    def _is_needed(self) -> bool:
        return any(endpoint.relayed_ports for endpoint in self._network.members.all())

    async def settled(self) -> None:
        """Return when ports that have been given back are free for others."""
        if self.unsettled and self._connection is not None:
            self.unsettled = False
            try:
                await self._connection.request("ping", {})
            except ConnectionLost:
                pass  # and its sockets with it

    async def ready_for(self, endpoints: Iterable[Endpoint]) -> None:
        """Return when the relay is there, if one of the endpoints has ports for it. Raises InternalError."""
        if any(endpoint.relayed_ports for endpoint in endpoints):
            await self.ready()

    def sync(self, container_id: str) -> None:
        """The container's ports, or where they lead to, have changed; or it has gone."""
        before = self._told.get(container_id, {})
        after = {each.name: each for each in self._network.members.relayed(container_id)}
        if before == after or self._connection is None:
            return
        for name in before.keys() - after.keys():
            self._connection.notify("drop", {"port": name})
            self.unsettled = True
        for name, port in after.items():
            if name not in before:
                _listen(self._connection, port)
            elif port != before[name]:
                self._connection.notify("listen", _target(port))
        if after:
            self._told[container_id] = after
        else:
            del self._told[container_id]

    async def _tell_everything(self, connection: Connection) -> None:
        answer, _ = await connection.request("begin", {})
        await self._hold_again(connection, set(answer["held"]))
        self._told = {}
        for container_id in {each.container_id for each in self._network.members.all()}:
            ports = {each.name: each for each in self._network.members.relayed(container_id)}
            for name, port in ports.items():
                if name in answer["held"]:
                    connection.notify("listen", _target(port))
                else:
                    _listen(connection, port)
            if ports:
                self._told[container_id] = ports
        connection.notify("end", {})

    async def _hold_again(self, connection: Connection, held: set[str]) -> None:
        """Have the sockets of living containers' ports, if we are a new engine: the relay's, or new ones."""
        for endpoint, port in self._network.members.unheld():
            fd = -1
            if port.name in held:
                try:
                    _, (fd,) = await connection.request("fetch", {"port": port.name})
                except CortenError as error:
                    log.warning("port not taken over", extra={"port": port.name, "reason": str(error)})
            self._network.members.hold_again(endpoint, port, fd)
            if fd >= 0:
                os.close(fd)


def _listen(connection: Connection, port: Relayed) -> None:
    connection.notify("listen", _target(port), [port.fd])


def _target(port: Relayed) -> dict[str, Any]:
    return {"port": port.name, "address": port.address, "number": port.number}
