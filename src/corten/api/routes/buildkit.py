"""BuildKit's protocol: HTTP/2 on connections taken over from HTTP/1.1."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Protocol

from corten.api.hijack import HijackedStream
from corten.api.request import Request
from corten.api.response import hijack_head
from corten.errors import InvalidParameter
from corten.http2.settings import CLIENT_GREETING, SERVER_GREETING
from corten.types.operations import BuildKitOptions, BuildOptions
from corten.types.progress import JSONMessage

_SWITCHING = hijack_head(b"application/grpc", b"h2c")
_METHODS_MAX = 64


class BuildKit(Protocol):
    """The engine's BuildKit."""

    def serve(self, stream: HijackedStream) -> Coroutine[object, object, None]:
        """Answer gRPC calls until the client has gone. It has been greeted (`http2.settings`)."""

    def build(
        self, options: BuildOptions, more: BuildKitOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[JSONMessage]:
        """A build by POST /build, of the body or over a session, and what it tells.

        Raises InvalidParameter, NotSupported at once; what it fails with later ends the iterator.
        """

    def cancel(self, build_id: str) -> None:
        """End such a build, if there is one of this name."""

    def serve_session(
        self, stream: HijackedStream, *, identifier: str, shared_key: str, methods: Sequence[str]
    ) -> Coroutine[object, object, None]:
        """Keep a session, over which the engine calls the client, who has been greeted, until he has gone."""


class BuildKitHandlers:
    """HTTP of BuildKit."""

    def __init__(self, buildkit: BuildKit) -> None:
        self._buildkit = buildkit

    def grpc(self, request: Request) -> Coroutine[object, object, None]:
        """POST /grpc: the client calls us."""
        return self._buildkit.serve(_upgraded(request, SERVER_GREETING))

    def session(self, request: Request) -> Coroutine[object, object, None]:
        """POST /session: we call the client."""
        _check_upgrade(request)
        identifier = _header(request, b"x-docker-expose-session-uuid")
        if not identifier:
            raise InvalidParameter("no session id in the request")
        methods = _header(request, b"x-docker-expose-session-grpc-method").split(",")
        if len(methods) > _METHODS_MAX:
            raise InvalidParameter("too many session methods in the request")
        return self._buildkit.serve_session(
            _upgraded(request, CLIENT_GREETING),
            identifier=identifier,
            shared_key=_header(request, b"x-docker-expose-session-sharedkey"),
            methods=[method.strip() for method in methods],
        )


def _header(request: Request, name: bytes) -> str:
    return request.headers.get(name, b"").decode("latin-1")


def _check_upgrade(request: Request) -> None:
    upgrade = request.upgrade
    if upgrade is None:
        raise InvalidParameter("no upgrade proto in request")
    if upgrade != b"h2c":
        raise InvalidParameter(f"protocol {upgrade.decode('latin-1')} not supported")


def _upgraded(request: Request, greeting: bytes) -> HijackedStream:
    _check_upgrade(request)
    return request.switch(_SWITCHING, greeting)
