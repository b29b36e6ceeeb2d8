"""Reading one repository of a registry: manifests, blobs, tags, referrers. Blocking; any thread.

Source: distribution-spec 1.1 "Pull" and "Content Discovery".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import quote

import msgspec

from corten.digest import Digest, digest_of
from corten.oci.image import (
    DOCKER_MANIFEST_V1,
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    kind_of,
)
from corten.reference import Reference
from corten.registry.client import referrers
from corten.registry.client.endpoint import EndpointClient
from corten.registry.client.errors import (
    BadResponse,
    ManifestUnknown,
    NoBasicCredentials,
    RegistryError,
    RepositoryUnknown,
    Unreachable,
)
from corten.registry.client.hosts import RegistryHosts
from corten.registry.client.ratelimit import RateLimit, rate_limit_of
from corten.registry.client.transport import Response
from corten.types.system import AuthConfig

log = logging.getLogger(__name__)

_ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES, DOCKER_MANIFEST_V1, "application/json"))
_MAX_TAGS_BYTES = 16 << 20
_MAX_TAG_PAGES = 1000
_MOST_LISTED = 1_000_000  # tags or referrers: pages of a hostile registry could take any memory
_BUFFER = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteManifest:
    """A manifest or index as the registry gave it; media_type is what it really is."""

    raw: bytes
    media_type: str
    digest: Digest


class BlobStream:
    """A blob on its way. `offset`: where it begins (0 if the registry ignored the range asked for).

    partial: the registry has answered a range. client: where it comes from.
    """

    def __init__(self, response: Response, offset: int, client: EndpointClient) -> None:
        self._response = response
        self._buffer = bytearray(_BUFFER)
        self.offset = offset
        self.partial = response.status == 206
        self.client = client

    def read(self) -> memoryview:
        """The next bytes, valid until the next call; empty at the end."""
        count = self._response.readinto(memoryview(self._buffer))
        return memoryview(self._buffer)[:count]

    def close(self) -> None:
        """Give up the rest."""
        self._response.close()


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class RemoteRegistry:
    """Speaks to the registry of `reference`, or its mirrors, about its repository.

    Close it, or use it as a context manager. Raises the errors of `corten.registry.client.errors` only.
    rate_limit: what the registry told last.
    """

    def __init__(self, reference: Reference, auth: AuthConfig | None, hosts: RegistryHosts) -> None:
        self.rate_limit: RateLimit | None = None
        self._lock = threading.Lock()
        self._clients = [
            EndpointClient(each, reference, auth or AuthConfig(), hosts.transport(each.tls), "pull")
            for each in hosts.endpoints(reference.domain, "pull")
        ]

    def __enter__(self) -> RemoteRegistry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Keep no connections any more; see Transport."""
        for client in self._clients:
            client.transport.close()

    def distrust(self, client: EndpointClient) -> bool:
        """Read no more from a mirror that gave wrong content; False if there is no other place."""
        with self._lock:
            if client is self._clients[-1] or client not in self._clients:
                return False
            self._clients.remove(client)
        client.transport.close()
        return True

    def abort(self, thread: int) -> None:
        """End what a thread waits for."""
        for client in self._clients:
            client.transport.abort(thread)

    def ping(self) -> str:
        """The base URL of the registry itself."""
        return self._clients[-1].ping()

    def login(self) -> tuple[str, str]:
        """See EndpointClient.login."""
        return self._clients[-1].login()

    def _get(
        self, path: str, headers: Mapping[str, str], *, allow: Sequence[int] = ()
    ) -> tuple[Response, EndpointClient]:
        """Ask the mirrors and then the registry; the last one's error counts, or its status if of `allow`."""
        for client in list(self._clients):
            try:
                last = client is self._clients[-1]
                response = client.request("GET", client.url(path), headers, allow=allow if last else ())
            except RegistryError as e:
                if client is self._clients[-1]:
                    raise
                log.info("mirror failed", extra={"mirror": client.endpoint.host, "reason": str(e)})
                if isinstance(e, Unreachable):
                    self.distrust(client)
                continue
            self.rate_limit = rate_limit_of(response.headers) or self.rate_limit
            return response, client
        raise Unreachable("no endpoint to read from")

    def manifest(self, which: str) -> RemoteManifest:
        """The manifest or index under a tag or digest, its bytes verified against a digest asked for.

        Raises ManifestUnknown, AccessDenied, BadResponse, InvalidDocument.
        """
        path = f"manifests/{quote(which, safe=':')}"
        try:
            response, client = self._get(path, {"Accept": _ACCEPT})
        except NoBasicCredentials as e:
            last = self._clients[-1]
            scheme = last.endpoint.schemes[-1]
            url = f"{scheme}://{last.endpoint.host}{last.endpoint.path}/{last.repository}/{path}"
            raise NoBasicCredentials(f'Head "{url}": ') from e
        with response:
            raw = response.read(MAX_MANIFEST_BYTES)
            served_as = (response.headers.get("Content-Type") or "").partition(";")[0].strip()
        digest = digest_of(raw)
        if ":" in which and digest != which:
            if self.distrust(client):
                return self.manifest(which)
            raise BadResponse(f"manifest verification failed for digest {which}")
        if "html" in served_as:
            raise BadResponse(f'error parsing HTTP 200 response body: unexpected media type "{served_as}"')
        return RemoteManifest(raw=raw, media_type=kind_of(raw, served_as), digest=digest)

    def blob(self, digest: Digest, offset: int = 0, end: int | None = None) -> BlobStream:
        """Open a blob, from `offset` on (and before `end`) if the registry can.

        Its bytes are the caller's to verify.
        """
        headers = {}
        if offset or end is not None:
            headers["Range"] = f"bytes={offset}-{'' if end is None else end - 1}"
        response, client = self._get(f"blobs/{digest}", headers)
        if response.status == 206 and headers:
            content_range = response.headers.get("Content-Range", "")
            if content_range.startswith(f"bytes {offset}-"):
                return BlobStream(response, offset, client)
            response.close()
            raise BadResponse(f"registry answered with the wrong range {content_range[:60]!r}")
        if response.status != 200:
            response.close()
            raise BadResponse(f"registry answered with status {response.status} for a blob")
        return BlobStream(response, 0, client)

    def read_blob(self, digest: Digest, limit: int) -> bytes:
        """A small blob, verified. Raises BadResponse if it is longer than `limit` or something else."""
        response, client = self._get(f"blobs/{digest}", {})
        with response:
            raw = response.read(limit)
        if digest_of(raw) != digest:
            if self.distrust(client):
                return self.read_blob(digest, limit)
            raise BadResponse(f"image config verification failed for digest {digest}")
        return raw

    def tags(self) -> list[str]:
        """All tags of the repository, page by page."""
        found: list[str] = []
        path = "tags/list"
        for _ in range(_MAX_TAG_PAGES):
            response, _client = self._get(path, {})
            with response:
                body = response.read(_MAX_TAGS_BYTES)
                more = _next_page(response.headers.get("Link", ""))
            try:
                page = msgspec.json.decode(body, type=_Tags).tags or []
            except (msgspec.DecodeError, RecursionError) as e:
                raise BadResponse(f"registry answered with an invalid list of tags: {e}") from e
            found += page
            if not more or not page:
                return found
            if len(found) > _MOST_LISTED:
                break
            path = f"tags/list?{more}"
        raise BadResponse("registry's list of tags does not end")

    def referrers(self, digest: Digest) -> list[Digest]:
        """The manifests that refer to one, as far as the registry or its clients keep a list."""
        found: list[Digest] = []
        path = f"referrers/{digest}"
        for _ in range(_MAX_TAG_PAGES):
            response, _client = self._get(path, {"Accept": OCI_INDEX}, allow=(404,))
            with response:
                if response.status == 404:
                    return self._tagged_referrers(digest)
                page = referrers.digests_in(response.read(MAX_MANIFEST_BYTES))
                more = _next_page(response.headers.get("Link", ""))
            found += page
            if not more or not page:
                return found
            if len(found) > _MOST_LISTED:
                break
            path = f"referrers/{digest}?{more}"
        raise BadResponse("registry's list of referrers does not end")

    def _tagged_referrers(self, digest: Digest) -> list[Digest]:
        try:
            listed = self.manifest(referrers.tag_of(digest))
        except (ManifestUnknown, RepositoryUnknown):
            return []
        return referrers.digests_in(listed.raw) if listed.media_type in INDEX_TYPES else []


def _next_page(link: str) -> str:
    """The query of `Link: <...?n=100&last=x>; rel="next"` (RFC 5988), whatever host it names."""
    target, _, parameters = link.partition(">")
    return target.partition("?")[2] if 'rel="next"' in parameters.replace("rel=next", 'rel="next"') else ""
