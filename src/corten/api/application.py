"""The API as what the server asks: guard, route, version, authorization, handler."""

from __future__ import annotations

import logging
from collections.abc import Coroutine

from corten.api.authorization import Authorization
from corten.api.endpoints import Services, endpoints
from corten.api.guard import Guard
from corten.api.request import Request
from corten.api.response import Answer
from corten.api.router import Route, Router
from corten.api.status import answer_of, message_of
from corten.errors import CortenError

log = logging.getLogger(__name__)


class EngineApi:
    """Answers requests with the engine's services."""

    def __init__(
        self, services: Services, guard: Guard | None = None, authorization: Authorization | None = None
    ) -> None:
        self._router = Router(endpoints(services))
        self._guard = guard or Guard()
        self._authorization = authorization

    @property
    def hears_all(self) -> bool:
        """See Application: plugins are to be asked, or requests logged."""
        authorization = self._authorization
        return (authorization is not None and authorization.active) or log.isEnabledFor(logging.DEBUG)

    def dispatch(self, request: Request) -> Answer | Coroutine[object, object, Answer | None]:
        """Answer at once, or give the coroutine that will."""
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s", request.method.decode(), request.path.decode("latin-1"))
        try:
            connection = request.connection
            if connection.browsers:
                self._guard.check(request.headers, check_host=not connection.trusted_host)
            route = self._router.find(request)
            request.outlives_client = route.outlives_client
            authorization = self._authorization
            if authorization is not None and authorization.active:
                return _authorized(authorization, route, request)
            return route.handler(request)
        except Exception as error:
            return answer_of(error)


async def _authorized(authorization: Authorization, route: Route, request: Request) -> Answer | None:
    """Serve a request if all plugins allow it, and its answer, too."""
    question = await authorization.admit(request, template=route.template)
    try:
        served = route.handler(request)
        answer = served if isinstance(served, Answer) else await served
    except ConnectionError:
        raise
    except Exception as error:
        if request.streamed:
            raise
        answer = answer_of(error)
    if answer is not None:
        await authorization.admit_answer(question, answer)
        return answer
    try:
        await authorization.tell_streamed(question, request.streamed)
    except CortenError as error:  # too late to take it back: the client learns that it is not whole
        log.warning("streamed answer not authorized", extra={"reason": message_of(error)})
        raise ConnectionAbortedError from error
    return None
