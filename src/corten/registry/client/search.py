"""Docker's search protocol (registry API v1): GET /v1/search?q=TERM&n=COUNT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlencode

import msgspec

from corten.reference import DEFAULT_DOMAIN
from corten.registry.client.credentials import basic_authorization
from corten.registry.client.errors import BadResponse, RegistryError, Unreachable
from corten.registry.client.hosts import RegistryHosts
from corten.registry.client.transport import Response, Transport
from corten.types.distribution import SearchResult
from corten.types.system import AuthConfig

_HUB = "index.docker.io"
_MAX_BYTES = 16 << 20


class _Answer(msgspec.Struct):
    results: list[SearchResult] | None = None


def search(
    hosts: RegistryHosts, domain: str, term: str, limit: int, auth: AuthConfig | None
) -> list[SearchResult]:
    """What the registry's index finds for `term`. Blocking. Raises RegistryError."""
    hosts.check(domain)
    endpoint = hosts.endpoints(domain, "resolve")[-1]
    host = _HUB if domain == DEFAULT_DOMAIN else endpoint.host
    query = urlencode({"q": term, "n": limit})
    basic = basic_authorization(auth) if auth is not None else None
    headers = {**endpoint.headers, **({"Authorization": basic} if basic else {})}
    urls = [f"{scheme}://{host}/v1/search?{query}" for scheme in endpoint.schemes]
    with hosts.transport(endpoint.tls) as transport, _first(transport, urls, headers) as response:
        if response.status != 200:
            raise RegistryError(f"Unexpected status code {response.status}")
        body = response.read(_MAX_BYTES)
    try:
        return msgspec.json.decode(body, type=_Answer).results or []
    except (msgspec.DecodeError, RecursionError) as e:
        raise BadResponse(f"error decoding registry search results: {e}") from e


def _first(transport: Transport, urls: Sequence[str], headers: Mapping[str, str]) -> Response:
    """The answer of the first of the URLs that can be reached. Raises Unreachable."""
    *others, last = urls
    for url in others:
        with suppress(Unreachable):
            return transport.request("GET", url, headers)
    return transport.request("GET", last, headers)
