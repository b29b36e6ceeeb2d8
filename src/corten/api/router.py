"""From method and path to a handler.

    /containers/json            static: one dict look-up
    /containers/{id}            two parts, the last one a name
    /images/{name}/json         three parts; a name may hold slashes where the template says {name}
    /containers/{id}/attach/ws  others: compared one by one (rare, refused ones)

A path is decoded before it is split, as Docker does it, so `a%2Fb` is `a/b`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from corten.api.requestversions import unknown_parameters
from corten.api.versions import MIN_VERSION, Version, parse_version
from corten.errors import NotFound

if TYPE_CHECKING:
    from corten.api.request import Request
    from corten.api.response import Answer

Handler = Callable[["Request"], "Answer | Coroutine[object, object, Answer | None]"]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `{name}` in the template may match slashes, other parameters may not.

    `refusal`: what is not supported, if the handler only says so. `outlives_client`: what it has begun it
    ends, though nobody waits for the answer any more.
    """

    method: str
    template: str
    handler: Handler
    since: Version = MIN_VERSION
    refusal: str | None = None
    outlives_client: bool = False


class PageNotFound(NotFound):
    """No such operation."""

    def __init__(self) -> None:
        super().__init__("page not found")


class Router:
    """The route table, indexed."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = list(routes)
        self._static: dict[tuple[bytes, bytes], Route] = {}
        self._shaped: dict[tuple[bytes, str, str | None], Route] = {}
        self._others: list[tuple[bytes, list[str], Route]] = []
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        method = route.method.encode()
        parts = route.template[1:].split("/")
        variables = [part.startswith("{") for part in parts]
        if not any(variables):
            self._static[method, route.template.encode()] = route
        elif variables == [False, True]:
            self._shaped[method, parts[0], None] = route
        elif variables == [False, True, False]:
            self._shaped[method, parts[0], parts[2]] = route
        else:
            self._others.append((method, parts, route))

    def find(self, request: Request) -> Route:
        """The route; sets the request's version and parameters. Raises PageNotFound, InvalidParameter."""
        path = unquote_to_bytes(request.path) if b"%" in request.path else request.path
        version = ""
        if path[:2] == b"/v" and path[2:3].isdigit():
            prefix, _, rest = path[2:].partition(b"/")
            version = prefix.decode("latin-1")
            path = b"/" + rest
        route = self._static.get((request.method, path)) or self._parametric(request, path)
        if version:
            request.version = parse_version(version)
            if request.version < route.since:
                raise PageNotFound
            for name in unknown_parameters(route.method, route.template, request.version):
                request.query.pop(name, None)
        return route

    def _parametric(self, request: Request, path: bytes) -> Route:
        parts = path.decode(errors="replace")[1:].split("/")
        first, last = parts[0], parts[-1]
        method = request.method
        ended = self._shaped.get((method, first, last)) if len(parts) >= 3 else None
        if ended is not None and len(parts) == 3:
            return self._with(request, ended, parts[1])
        plain = self._shaped.get((method, first, None)) if len(parts) >= 2 else None
        if plain is not None and len(parts) == 2:
            return self._with(request, plain, last)
        for other, template, route in self._others:
            if other == method and len(template) == len(parts):
                pairs = list(zip(template, parts, strict=True))
                if all(name == part or (name.startswith("{") and part) for name, part in pairs):
                    request.params = tuple(part for name, part in pairs if name.startswith("{"))
                    return route
        # Names that have slashes themselves, such as those of images.
        if ended is not None and "{name}" in ended.template:
            return self._with(request, ended, "/".join(parts[1:-1]))
        if plain is not None and "{name}" in plain.template:
            return self._with(request, plain, "/".join(parts[1:]))
        raise PageNotFound

    @staticmethod
    def _with(request: Request, route: Route, name: str) -> Route:
        if not name:
            raise PageNotFound
        request.params = (name,)
        return route
