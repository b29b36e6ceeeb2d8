"""Operations that list. Source: distribution-spec 1.1, "Content Discovery"."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from urllib.parse import urlencode

from corten.oci.image import OCI_INDEX
from corten.registry.server.documents import referrers_index
from corten.registry.server.errors import Refused
from corten.registry.server.messages import Reply
from corten.registry.server.parts import Call

_MOST = 1000  # of a page of the catalogue, if the client does not say


def tags(call: Call) -> Reply:
    """GET /v2/NAME/tags/list?n=&last=."""
    found = (call.upstreams or call.store).tags(call.repository)
    if found is None:
        raise Refused("NAME_UNKNOWN", f"repository name not known to registry: {call.repository}")
    page, headers = _page(call, found, f"/v2/{call.repository}/tags/list", None)
    return _json({"name": call.repository, "tags": page}, headers)


def catalogue(call: Call) -> Reply:
    """GET /v2/_catalog?n=&last=."""
    page, headers = _page(call, call.store.repositories(), "/v2/_catalog", _MOST)
    return _json({"repositories": page}, headers)


def referrers(call: Call) -> Reply:
    """GET /v2/NAME/referrers/DIGEST?artifactType=; a manifest that nobody has has no referrers."""
    wanted = call.request.parameter("artifactType")
    body = referrers_index(call.store.catalogue.referrers(call.repository, call.digest), wanted)
    headers = {"Content-Type": OCI_INDEX}
    if wanted:
        headers["OCI-Filters-Applied"] = "artifactType"
    return Reply(200, headers, body)


def _page(
    call: Call, items: Sequence[str], path: str, default: int | None
) -> tuple[Sequence[str], dict[str, str]]:
    """The part of a sorted list that was asked for, and the Link to what follows."""
    text, last = call.request.parameter("n"), call.request.parameter("last")
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused("PAGINATION_NUMBER_INVALID", "invalid number of results requested")
    most = int(text) if text else default
    start = bisect_right(items, last) if last else 0
    if most is None or start + most >= len(items):
        return items[start : None if most is None else start + most], {}
    page = items[start : start + most]
    if not page:
        return page, {}
    return page, {"Link": f'<{path}?{urlencode({"n": most, "last": page[-1]})}>; rel="next"'}


def _json(document: object, headers: dict[str, str]) -> Reply:
    return Reply(200, {"Content-Type": "application/json", **headers}, json.dumps(document).encode())
