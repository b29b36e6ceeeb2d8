"""Tells of what egress policies refuse: events of the network, "egress-denied".

What is refused again and again is told of once a while, so that a busy container does not fill the log.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from corten.network.values import Endpoint

if TYPE_CHECKING:
    from corten.engine.containers.context import Context

log = logging.getLogger(__name__)

_SILENCE_S = 60.0
_REMEMBERED = 4096


class EgressLog:
    """Belongs to the event loop's thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: dict[tuple[str, str], float] = {}  # container, destination -> monotonic seconds
        context.resolver.on_refused = self._name_refused

    def read(self) -> None:
        """Packets were refused: the packet log is readable."""
        for denial in self._context.network.egress.denials():
            for endpoint in self._context.network.members.all():
                if denial.source in (endpoint.ipv4, endpoint.ipv6):
                    at = f"[{denial.destination}]" if ":" in denial.destination else denial.destination
                    port = f":{denial.port}" if denial.port else ""
                    self._tell(endpoint, f"{at}{port}/{denial.protocol}")
                    break

    def _name_refused(self, key: str, name: str) -> None:
        for endpoint in self._context.network.members.all():
            if endpoint.container_id.startswith(key):
                self._tell(endpoint, name)
                return

    def _tell(self, endpoint: Endpoint, destination: str) -> None:
        now = time.monotonic()
        what = (endpoint.container_id, destination)
        if now - self._told.get(what, -_SILENCE_S) < _SILENCE_S:
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[what] = now
        log.info("egress denied", extra={"container": endpoint.container_id, "destination": destination})
        self._context.publish_network("egress-denied", endpoint, destination=destination)
