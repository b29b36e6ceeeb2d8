"""Docker's search protocol (registry API v1): GET /v1/search?q=TERM&n=COUNT."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from corten.reference import DEFAULT_DOMAIN
from corten.registry.client.credentials import basic_authorization
from corten.registry.client.errors import BadResponse, RegistryError, Unreachable
from corten.registry.client.hosts import RegistryHosts
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
    transport = hosts.transport(endpoint.tls)
    for scheme in endpoint.schemes:
        try:
            response = transport.request("GET", f"{scheme}://{host}/v1/search?{query}", headers)
        except Unreachable:
            if scheme == endpoint.schemes[-1]:
                raise
            continue
        with response:
            if response.status != 200:
                raise RegistryError(f"Unexpected status code {response.status}")
            body = response.read(_MAX_BYTES)
        try:
            return msgspec.json.decode(body, type=_Answer).results or []
        except (msgspec.DecodeError, RecursionError) as e:
            raise BadResponse(f"error decoding registry search results: {e}") from e
    raise AssertionError("an endpoint without a scheme")
