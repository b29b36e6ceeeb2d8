"""Writing to one repository of a registry: blobs and manifests. Blocking; any thread.

Source: distribution-spec 1.1 "Push". A blob up to `chunk` bytes goes in one PUT; a longer one in PATCHes
of that size, so that a break costs at most one of them; a registry that refuses chunks gets it whole.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from urllib.parse import quote

from corten.digest import Digest, digest_of
from corten.oci.image import MAX_MANIFEST_BYTES, OCI_INDEX
from corten.reference import Reference
from corten.registry.client import referrers
from corten.registry.client.body import BytesBody, FileBody
from corten.registry.client.endpoint import EndpointClient
from corten.registry.client.errors import BadResponse, RegistryError, Unreachable
from corten.registry.client.hosts import RegistryHosts
from corten.registry.client.transport import Response, split_url
from corten.types.system import AuthConfig

CHUNK = 64 << 20
_OCTETS = {"Content-Type": "application/octet-stream"}
_MAX_RESUMES = 5
_NO_CHUNKS = (404, 405, 411, 413, 415, 416, 501)


class PushTarget:
    """The repository of `reference`, to be written. Close it, or use it as a context manager.

    Raises RegistryError only.
    """

    def __init__(
        self, reference: Reference, auth: AuthConfig | None, hosts: RegistryHosts, *, chunk: int = CHUNK
    ) -> None:
        endpoint = hosts.endpoints(reference.domain, "push")[0]
        transport = hosts.transport(endpoint.tls)
        self._client = EndpointClient(endpoint, reference, auth or AuthConfig(), transport, "pull,push")
        self._chunk = chunk

    def __enter__(self) -> PushTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Keep no connections any more; see Transport."""
        self._client.transport.close()

    def abort(self) -> None:
        """End what other threads wait for."""
        self._client.transport.abort()

    def ping(self) -> None:
        """Find out how to speak to the registry. Raises RegistryError."""
        self._client.ping()

    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository has the blob."""
        url = self._client.url(f"blobs/{digest}")
        with self._client.request("HEAD", url, {}, allow=(404,)) as response:
            return response.status == 200

    def has_manifest(self, digest: Digest) -> bool:
        """Whether the repository has the manifest."""
        url = self._client.url(f"manifests/{digest}")
        with self._client.request("HEAD", url, {"Accept": "*/*"}, allow=(404,)) as response:
            return response.status == 200

    def mount(self, digest: Digest, source: Reference) -> bool:
        """Take a blob over from another repository of the registry; False if it would not."""
        other = self._client.endpoint.repository(source.path)
        query = f"mount={quote(digest, safe=':')}&from={quote(other)}"
        try:
            response = self._client.request(
                "POST",
                self._client.url(f"blobs/uploads/?{query}"),
                {},
                further_scopes=[f"repository:{other}:pull"],
            )
        except Unreachable:
            raise
        except RegistryError:
            return False  # we may not read there: it can be uploaded all the same
        with response:
            response.read_error()
            mounted = response.status == 201
            location = response.headers.get("Location")
        if not mounted and location is not None:
            self._cancel(split_url(location, base=response.url).geturl())
        return mounted

    def _cancel(self, url: str) -> None:
        """Give up an upload; registries forget those left alone anyway."""
        try:
            self._client.request("DELETE", url, {}).close()
        except RegistryError:
            return

    def upload(self, digest: Digest, body: FileBody | BytesBody) -> None:
        """Upload a blob. A broken connection is Unreachable; then try again."""
        if isinstance(body, FileBody) and body.length > self._chunk and self._upload_chunked(digest, body):
            return
        url = _with_digest(self._begin(), digest)
        self._finish(digest, self._client.request("PUT", url, _OCTETS, body))

    def _begin(self) -> str:
        with self._client.request("POST", self._client.url("blobs/uploads/"), {}) as response:
            response.read_error()
            return _location(response)

    def _upload_chunked(self, digest: Digest, body: FileBody) -> bool:
        """False if the registry takes no chunks."""
        url = self._begin()
        at = resumed = 0
        while at < body.length:
            size = min(self._chunk, body.length - at)
            part = FileBody(body.fd, body.offset + at, size, _shifted(body, at))
            headers = {**_OCTETS, "Content-Range": f"{at}-{at + size - 1}"}
            try:
                response = self._client.request("PATCH", url, headers, part, allow=_NO_CHUNKS)
            except Unreachable:
                resumed += 1
                if resumed > _MAX_RESUMES:
                    raise
                url, at = self._resume(url)
                continue
            with response:
                response.read_error()
                if response.status >= 400:
                    self._cancel(url)
                    return False
                url = _location(response)
            at += size
        self._finish(digest, self._client.request("PUT", _with_digest(url, digest), _OCTETS))
        return True

    def _resume(self, url: str) -> tuple[str, int]:
        """Where an upload that broke off goes on. Raises RegistryError if the registry has forgotten it."""
        with self._client.request("GET", url, {}) as response:
            response.read_error()
            _, _, last = response.headers.get("Range", "").removeprefix("bytes=").partition("-")
            if not last.isdigit():
                raise Unreachable("registry does not tell how far the upload is")
            # An empty upload is told as 0-0 by registries of the Docker family, and so is one byte.
            return _location(response), int(last) + 1 if int(last) else 0

    def _finish(self, digest: Digest, response: Response) -> None:
        with response:
            response.read_error()
            if response.status != 201:
                raise BadResponse(f"registry answered with status {response.status} to the end of an upload")

    def put_manifest(self, which: str, raw: bytes, media_type: str) -> Digest:
        """Store a manifest or index under a tag or its digest; returns the digest."""
        url = self._client.url(f"manifests/{quote(which, safe=':')}")
        with self._client.request("PUT", url, {"Content-Type": media_type}, BytesBody(raw)) as response:
            response.read_error()
            if response.status not in (200, 201, 202):
                raise BadResponse(f"registry answered with status {response.status} to a manifest")
            told = response.headers.get("Docker-Content-Digest")
            keeps_referrers = response.headers.get("OCI-Subject") is not None
        digest = digest_of(raw)
        if told is not None and told.startswith("sha256:") and told != digest:
            raise BadResponse(f"registry has stored manifest {digest} as {told[:100]}")
        if not keeps_referrers and (subject := referrers.subject_of(raw, media_type)):
            self._list_referrer(subject, raw, media_type)
        return digest

    def _list_referrer(self, subject: str, raw: bytes, media_type: str) -> None:
        """Do what a registry does not that keeps no lists of what refers to a manifest."""
        tag = referrers.tag_of(subject)
        url = self._client.url(f"manifests/{tag}")
        with self._client.request("GET", url, {"Accept": OCI_INDEX}, allow=(404,)) as response:
            there = response.read(MAX_MANIFEST_BYTES) if response.status == 200 else None
        if (listed := referrers.with_entry(there, raw, media_type)) is not None:
            self.put_manifest(tag, listed, OCI_INDEX)


def _shifted(body: FileBody, start: int) -> Callable[[int], None] | None:
    """The body's `on_sent` for a part of it."""
    told = body.on_sent
    return None if told is None else lambda count: told(start + count)


def _location(response: Response) -> str:
    location = response.headers.get("Location")
    if response.status not in (202, 204) or location is None:
        raise BadResponse(f"registry answered with status {response.status} to an upload")
    target = split_url(location, base=response.url)
    if target.scheme not in ("http", "https") or not target.hostname:
        raise BadResponse("registry names an address for uploads that is none")
    if target.scheme == "http" and response.url.startswith("https:"):
        raise BadResponse("refusing to upload without TLS to where an https registry points")
    return target.geturl()


def _with_digest(url: str, digest: Digest) -> str:
    return f"{url}{'&' if split_url(url).query else '?'}digest={quote(digest, safe=':')}"
