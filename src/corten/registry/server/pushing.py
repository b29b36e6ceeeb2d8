"""Operations that change content. Source: distribution-spec 1.1, "Push" and "Content Management"."""

from __future__ import annotations

import hashlib
import re

from corten.digest import Digest, algorithm_of, digest_of
from corten.oci.image import MAX_MANIFEST_BYTES
from corten.registry.server.documents import read_manifest
from corten.registry.server.errors import Refused
from corten.registry.server.messages import Reply
from corten.registry.server.parts import Call, digest_in

_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d+|\*))?")


def start_upload(call: Call) -> Reply:
    """POST /v2/NAME/blobs/uploads/: begin an upload, mount another repository's blob, or push at once."""
    request, store = call.request, call.store
    if call.may_mount:
        digest = digest_in(request.parameter("mount"))
        if store.mount(call.repository, digest, request.parameter("from")):
            return _created(call, digest)
    upload = store.storage.start_upload()
    if request.parameter("digest"):
        digest = digest_in(request.parameter("digest"))
        try:
            store.storage.append(upload, request.body)
        except BaseException:
            store.storage.cancel(upload)
            raise
        return _finish(call, upload, digest)
    return Reply(202, _progress(call, upload, 0))


def upload_status(call: Call) -> Reply:
    """GET of an upload: where it stands."""
    return Reply(204, _progress(call, call.which, call.store.storage.upload_size(call.which)))


def append_upload(call: Call) -> Reply:
    """PATCH: a chunk (with Content-Range, in order) or a stream (without)."""
    return Reply(202, _progress(call, call.which, _append(call)))


def finish_upload(call: Call) -> Reply:
    """PUT: the last bytes, if any, and the digest."""
    digest = digest_in(call.request.parameter("digest"))
    _append(call)
    return _finish(call, call.which, digest)


def cancel_upload(call: Call) -> Reply:
    """DELETE of an upload."""
    call.store.storage.cancel(call.which)
    return Reply(204)


def _append(call: Call) -> int:
    storage, request = call.store.storage, call.request
    offset = None
    if given := request.header(b"content-range"):
        found = _CONTENT_RANGE.fullmatch(given)
        if found is None or int(found[2]) < int(found[1]):
            raise Refused("BLOB_UPLOAD_INVALID", "malformed Content-Range")
        offset = int(found[1])
        length = request.header(b"content-length")
        if length and int(length) != int(found[2]) - offset + 1:
            raise Refused("SIZE_INVALID", "Content-Range and Content-Length disagree")
    try:
        return storage.append(call.which, request.body, offset)
    except Refused as e:
        if e.code == "RANGE_INVALID":
            e.headers.update(_progress(call, call.which, storage.upload_size(call.which)))
        raise


def _progress(call: Call, upload: str, size: int) -> dict[str, str]:
    return {
        "Location": f"/v2/{call.repository}/blobs/uploads/{upload}",
        "Range": f"0-{max(size - 1, 0)}",
        "Docker-Upload-UUID": upload,
    }


def _finish(call: Call, upload: str, digest: Digest) -> Reply:
    call.store.finish_upload(call.repository, upload, digest)
    return _created(call, digest)


def _created(call: Call, digest: Digest) -> Reply:
    location = f"/v2/{call.repository}/blobs/{digest}"
    return Reply(201, {"Location": location, "Docker-Content-Digest": digest})


def put_manifest(call: Call) -> Reply:
    """PUT /v2/NAME/manifests/REFERENCE."""
    reference = call.reference
    raw = call.request.body.read(MAX_MANIFEST_BYTES)
    tag = None if ":" in reference else reference
    digest = digest_of(raw) if tag else _digest_like(raw, reference)
    if tag is None and digest != reference:
        raise Refused("DIGEST_INVALID", f"content has digest {digest}, not {reference}")
    manifest = read_manifest(raw, digest, call.request.header(b"content-type"))
    call.store.put_manifest(call.repository, manifest, tag)
    call.tell("push", digest, manifest.media_type, len(raw), tag or "")
    headers = {"Location": f"/v2/{call.repository}/manifests/{digest}", "Docker-Content-Digest": digest}
    if manifest.subject is not None:
        headers["OCI-Subject"] = manifest.subject
    return Reply(201, headers)


def _digest_like(raw: bytes, digest: str) -> Digest:
    algorithm = algorithm_of(digest)
    return Digest(f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}")


def delete_manifest(call: Call) -> Reply:
    """DELETE of a manifest (by digest, with its tags) or of a tag alone."""
    reference, catalogue = call.reference, call.store.catalogue
    if ":" in reference:
        gone = catalogue.delete_manifest(call.repository, reference)
    else:
        gone = catalogue.delete_tag(call.repository, reference)
    if not gone:
        if call.store.manifest(call.repository, reference) is not None:
            raise Refused("UNSUPPORTED", "this image is the engine's: remove it there")
        raise Refused("MANIFEST_UNKNOWN", "manifest unknown")
    call.tell("delete", reference if ":" in reference else "", "", 0, "" if ":" in reference else reference)
    return Reply(202)


def delete_blob(call: Call) -> Reply:
    """DELETE of a blob; its file goes when no repository's manifests need it."""
    if not call.store.catalogue.unlink_blob(call.repository, call.digest):
        raise Refused("BLOB_UNKNOWN", "blob unknown to registry")
    call.tell("delete", call.digest, "application/octet-stream", 0)
    return Reply(202)
