"""The API as what the server asks: guard, route, version, handler."""

from __future__ import annotations

import logging
from collections.abc import Coroutine

from corten.api.endpoints import Services, endpoints
from corten.api.guard import Guard
from corten.api.request import Request
from corten.api.response import Answer
from corten.api.router import Router
from corten.api.status import answer_of

log = logging.getLogger(__name__)


class EngineApi:
    """Answers requests with the engine's services."""

    def __init__(self, services: Services, guard: Guard | None = None) -> None:
        self._router = Router(endpoints(services))
        self._guard = guard or Guard()

    def dispatch(self, request: Request) -> Answer | Coroutine[object, object, Answer | None]:
        """Answer at once, or give the coroutine that will."""
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s", request.method.decode(), request.path.decode("latin-1"))
        try:
            connection = request.connection
            if connection.browsers:
                self._guard.check(request.headers, check_host=not connection.trusted_host)
            return self._router.find(request).handler(request)
        except Exception as error:
            return answer_of(error)
