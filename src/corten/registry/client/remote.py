"""One repository of a registry: manifests, blobs, tags. Blocking; one thread at a time.

Source: distribution-spec 1.1 "Pull"; Docker's token authentication (distribution/docs/spec/auth).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

import msgspec

from corten.digest import Digest, digest_of
from corten.oci.image import (
    DOCKER_MANIFEST_V1,
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    kind_of,
)
from corten.reference import Reference
from corten.registry.client.challenge import Challenge, parse_challenges
from corten.registry.client.credentials import basic_authorization, endpoint_host
from corten.registry.client.errors import (
    AuthenticationFailed,
    BadResponse,
    Unreachable,
    error_of,
)
from corten.registry.client.transport import Response, Transport, split_url
from corten.registry.client.trust import RegistryTrust
from corten.types.system import AuthConfig

_ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES, DOCKER_MANIFEST_V1, "application/json"))
_MAX_TOKEN_BYTES = 1 << 20
_MAX_TAGS_BYTES = 16 << 20
_BUFFER = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteManifest:
    """A manifest or index as the registry gave it; media_type is what it really is."""

    raw: bytes
    media_type: str
    digest: Digest


class BlobStream:
    """A blob on its way. `offset`: where it begins (0 if the registry ignored the range asked for)."""

    def __init__(self, response: Response, offset: int) -> None:
        self._response = response
        self._buffer = bytearray(_BUFFER)
        self.offset = offset

    def read(self) -> memoryview:
        """The next bytes, valid until the next call; empty at the end."""
        count = self._response.readinto(memoryview(self._buffer))
        return memoryview(self._buffer)[:count]

    def abort(self) -> None:
        """Make a `read` that waits in another thread fail at once."""
        self._response.abort()

    def close(self) -> None:
        """Drop the connection."""
        self._response.close()


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class RemoteRegistry:
    """Speaks to the registry of `reference` about its repository.

    Raises the errors of `corten.registry.client.errors` only.
    """

    def __init__(
        self,
        reference: Reference,
        auth: AuthConfig | None,
        trust: RegistryTrust,
        *,
        transport: Transport | None = None,
        actions: str = "pull",
    ) -> None:
        self._reference = reference
        self._auth = auth or AuthConfig()
        self._host = endpoint_host(reference.domain)
        self._trust = trust
        self._insecure = trust.is_insecure(self._host)
        self._transport = transport or Transport(verify=not self._insecure)
        self._scope = f"repository:{reference.path}:{actions}"
        self._base: str | None = None
        self._authorization: str | None = None

    # -- connecting -----------------------------------------------------------------------------

    def ping(self) -> str:
        """Find out how to speak to the registry; returns its base URL. Authenticates if it asks for that."""
        if self._base is not None:
            return self._base
        for scheme in self._trust.schemes(self._host):
            url = f"{scheme}://{self._host}/v2/"
            try:
                with self._transport.request("GET", url, {}) as response:
                    self._answer_ping(response)
            except Unreachable:
                if scheme == self._trust.schemes(self._host)[-1]:
                    raise
                continue
            self._base = url
            return url
        raise Unreachable(f"no endpoint for {self._host}")

    def _answer_ping(self, response: Response) -> None:
        if response.status == 401:
            self._authenticate(response)
        elif response.status != 200:
            raise error_of(response.status, response.read_error())

    def _authenticate(self, response: Response) -> None:
        """Find the Authorization header that the challenge asks for. Raises AuthenticationFailed."""
        challenges = parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
        if self._auth.registry_token:
            self._authorization = f"Bearer {self._auth.registry_token}"
            return
        for challenge in challenges:
            if challenge.scheme == "bearer":
                self._authorization = f"Bearer {self._token(challenge, response.url)}"
                return
            if challenge.scheme == "basic":
                self._authorization = basic_authorization(self._auth)
                if self._authorization is None:
                    raise AuthenticationFailed(f'Get "{response.url}": no basic auth credentials')
                return
        raise error_of(response.status, response.read_error())

    def _token(self, challenge: Challenge, asked_by: str) -> str:
        realm = challenge.parameters.get("realm", "")
        self._check_realm(realm, asked_by)
        query = {"service": challenge.parameters.get("service", ""), "scope": self._scope}
        headers = {}
        if self._auth.identity_token:
            query |= {"grant_type": "refresh_token", "refresh_token": self._auth.identity_token}
        elif (basic := basic_authorization(self._auth)) is not None:
            headers["Authorization"] = basic
            query["account"] = self._auth.username
        separator = "&" if split_url(realm).query else "?"
        url = realm + separator + urlencode({k: v for k, v in query.items() if v})
        with self._transport.request("GET", url, headers) as response:
            if response.status != 200:
                raise error_of(response.status, response.read_error())
            body = response.read(_MAX_TOKEN_BYTES)
        try:
            answer = msgspec.json.decode(body, type=_Token)
        except (msgspec.DecodeError, RecursionError) as e:
            raise BadResponse(f"authorization server did not include a token in the response: {e}") from e
        token = answer.token or answer.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise BadResponse("authorization server did not include a token in the response")
        return token

    def _check_realm(self, realm: str, asked_by: str) -> None:
        """Credentials go to https, or to the very host that asked, and nowhere else."""
        parts, own = split_url(realm), split_url(asked_by)
        if parts.scheme == "https" and parts.hostname:
            return
        if parts.scheme == "http" and own.scheme == "http" and parts.hostname == own.hostname:
            return
        raise BadResponse(f'registry {self._host} asks to authenticate at an unsafe address "{realm[:200]}"')

    def _request(self, method: str, path: str, headers: dict[str, str]) -> Response:
        url = self.ping() + path
        response: Response
        for attempt in (1, 2):
            sent = dict(headers)
            if self._authorization is not None:
                sent["Authorization"] = self._authorization
            response = self._transport.request(method, url, sent)
            if response.status == 401 and attempt == 1 and response.headers.get("WWW-Authenticate"):
                with response:
                    self._authenticate(response)
                continue
            break
        if response.status >= 400:
            with response:
                raise error_of(response.status, response.read_error())
        return response

    def login(self) -> str:
        """Check the credentials (POST /auth); returns Docker's sentence. Raises AuthenticationFailed."""
        self._scope = ""
        url = self.ping()
        headers = {"Authorization": self._authorization} if self._authorization else {}
        with self._transport.request("GET", url, headers) as response:
            if response.status == 401:
                raise AuthenticationFailed(f"login attempt to {url} failed with status: 401 Unauthorized")
            if response.status != 200:
                raise error_of(response.status, response.read_error())
        return "Login Succeeded"

    # -- reading --------------------------------------------------------------------------------

    def manifest(self, which: str) -> RemoteManifest:
        """The manifest or index under a tag or digest, its bytes verified against a digest asked for.

        Raises ManifestUnknown, AccessDenied, BadResponse, InvalidDocument.
        """
        path = f"{self._reference.path}/manifests/{quote(which, safe=':')}"
        with self._request("GET", path, {"Accept": _ACCEPT}) as response:
            raw = response.read(MAX_MANIFEST_BYTES)
            served_as = (response.headers.get("Content-Type") or "").partition(";")[0].strip()
        digest = digest_of(raw)
        if ":" in which and digest != which:
            raise BadResponse(f"manifest verification failed for digest {which}")
        if "html" in served_as:
            raise BadResponse(f'error parsing HTTP 200 response body: unexpected media type "{served_as}"')
        return RemoteManifest(raw=raw, media_type=kind_of(raw, served_as), digest=digest)

    def blob(self, digest: Digest, offset: int = 0) -> BlobStream:
        """Open a blob, from `offset` on if the registry can. Its bytes are the caller's to verify."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._request("GET", f"{self._reference.path}/blobs/{digest}", headers)
        if response.status == 206 and offset:
            content_range = response.headers.get("Content-Range", "")
            if content_range.startswith(f"bytes {offset}-"):
                return BlobStream(response, offset)
            response.close()
            raise BadResponse(f"registry answered with the wrong range {content_range[:60]!r}")
        if response.status != 200:
            response.close()
            raise BadResponse(f"registry answered with status {response.status} for a blob")
        return BlobStream(response, 0)

    def read_blob(self, digest: Digest, limit: int) -> bytes:
        """A small blob, verified. Raises BadResponse if it is longer than `limit` or something else."""
        with self._request("GET", f"{self._reference.path}/blobs/{digest}", {}) as response:
            raw = response.read(limit)
        if digest_of(raw) != digest:
            raise BadResponse(f"image config verification failed for digest {digest}")
        return raw

    def tags(self) -> list[str]:
        """All tags of the repository."""
        with self._request("GET", f"{self._reference.path}/tags/list", {}) as response:
            body = response.read(_MAX_TAGS_BYTES)
        try:
            return msgspec.json.decode(body, type=_Tags).tags or []
        except (msgspec.DecodeError, RecursionError) as e:
            raise BadResponse(f"registry answered with an invalid list of tags: {e}") from e
