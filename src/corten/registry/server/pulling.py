"""Operations that read content. Source: distribution-spec 1.1, "Pull"."""

from __future__ import annotations

import re

from corten.registry.server.errors import Refused
from corten.registry.server.messages import FileBody, Reply
from corten.registry.server.parts import Call

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_YEAR_S = 365 * 24 * 3600


def manifest(call: Call) -> Reply:
    """GET and HEAD /v2/NAME/manifests/REFERENCE."""
    source = call.upstreams or call.store
    found = source.manifest(call.repository, call.reference)
    if found is None:
        raise Refused("MANIFEST_UNKNOWN", "manifest unknown")
    headers = {
        "Content-Type": found.media_type,
        "Docker-Content-Digest": found.digest,
        "ETag": f'"{found.digest}"',
    }
    if _unchanged(call, found.digest):
        return Reply(304, headers)
    if call.request.method == "GET":
        tag = "" if ":" in call.which else call.which
        call.tell("pull", found.digest, found.media_type, len(found.raw), tag)
    return Reply(200, headers, found.raw)


def blob(call: Call) -> Reply:
    """GET and HEAD /v2/NAME/blobs/DIGEST, whole or one range."""
    digest = call.digest
    source = call.upstreams or call.store
    body = source.blob(call.repository, digest, may_wait=call.request.may_wait)
    if body is None:
        raise Refused("BLOB_UNKNOWN", "blob unknown to registry")
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "Cache-Control": f"max-age={_YEAR_S}",
    }
    if _unchanged(call, digest):
        body.close()
        return Reply(304, headers)
    if not isinstance(body, FileBody):
        return Reply(200, headers, body)
    headers["Accept-Ranges"] = "bytes"
    wanted = call.request.header(b"range")
    if not wanted or call.request.header(b"if-range") not in ("", f'"{digest}"'):
        return Reply(200, headers, body)
    return _part(wanted, headers, body)


def _unchanged(call: Call, digest: str) -> bool:
    return f'"{digest}"' in call.request.header(b"if-none-match")


def _part(wanted: str, headers: dict[str, str], body: FileBody) -> Reply:
    """RFC 9110, 14.1.2; several ranges at once are answered with everything, which the RFC allows."""
    size = body.length
    found = _RANGE.fullmatch(wanted.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return Reply(200, headers, body)
    if found[1]:
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    else:
        first, last = max(size - int(found[2]), 0), size - 1
    if first > last or first >= size:
        raise Refused("RANGE_INVALID", "invalid range", {"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Reply(206, headers, FileBody(body.file, first, last - first + 1))
