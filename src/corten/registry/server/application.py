"""From a request to the operation that answers it, with access, metrics and errors around it.

/v2/                                  are you a registry?
/v2/_catalog                          repositories
/v2/NAME/tags/list                    tags
/v2/NAME/manifests/REFERENCE          manifests
/v2/NAME/blobs/DIGEST                 blobs
/v2/NAME/blobs/uploads/[ID]           uploads
/v2/NAME/referrers/DIGEST             what is about a manifest
/token  /metrics  /health  /  /r/NAME tokens of our own, Prometheus, liveness, pages for people
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from corten.prometheus import MEDIA_TYPE
from corten.reference import is_repository_path
from corten.registry.server import listing, page, pulling, pushing
from corten.registry.server.access import ANYBODY, Access, Open
from corten.registry.server.errors import Refused, WouldWait
from corten.registry.server.messages import FileBody, Reply, Request
from corten.registry.server.metrics import Metrics
from corten.registry.server.parts import Call, Parts
from corten.registry.server.tokens import TokenAccess

log = logging.getLogger("corten.registry")

Operation = Callable[[Call], Reply]

_PATHS = re.compile(
    r"/v2/(?P<name>.+?)/(?:"
    r"(?P<tags>tags/list)|manifests/(?P<manifest>[^/]+)|blobs/uploads/(?P<upload>[^/]*)"
    r"|blobs/(?P<blob>[^/]+)|referrers/(?P<subject>[^/]+))"
)
_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("tags", "GET"): listing.tags,
    ("subject", "GET"): listing.referrers,
    ("manifest", "GET"): pulling.manifest,
    ("manifest", "PUT"): pushing.put_manifest,
    ("manifest", "DELETE"): pushing.delete_manifest,
    ("blob", "GET"): pulling.blob,
    ("blob", "DELETE"): pushing.delete_blob,
    ("upload", "POST"): pushing.start_upload,
    ("upload", "GET"): pushing.upload_status,
    ("upload", "PATCH"): pushing.append_upload,
    ("upload", "PUT"): pushing.finish_upload,
    ("upload", "DELETE"): pushing.cancel_upload,
}
_AT_ONCE = ("blob", "GET")  # seldom has to wait, and is what most bytes are sent by
_NEEDS = {"GET": ("pull",), "DELETE": ("delete",)}
_CHANGES = ("pull", "push")
_MOST_RECENT = 64


@dataclass(frozen=True, slots=True)
class _Recent:
    """A whole blob as it was answered, as long as the catalogue has had so many writes; until: monotonic."""

    repository: str
    reply: Reply
    writes: int
    until: float


class Application:
    """Answers requests; called from many threads.

    What is asked for again and again is remembered with its file open, so that many clients who pull the
    same cost little more than sendfile(2).
    """

    def __init__(self, parts: Parts, access: Access | None = None, *, log_requests: bool = False) -> None:
        self._parts = parts
        self._access = access or Open()
        self._log_requests = log_requests
        self.metrics = Metrics(parts)
        self._recent: dict[bytes, _Recent] = {}
        parts.store.catalogue.when_written(self._recent.clear)

    def __call__(self, request: Request) -> Reply:
        """Answer. Raises WouldWait if the request may not wait."""
        started = time.monotonic()
        kind = "other"
        try:
            kind, reply = self._recalled(request, started) or self._route(request)
        except Refused as e:
            reply = Reply(e.status, {"Content-Type": "application/json", **e.headers}, e.document)
        if request.path.startswith("/v2"):
            reply.headers.setdefault("Docker-Distribution-Api-Version", "registry/2.0")
        seconds = time.monotonic() - started
        self.metrics.observe(kind, request.method, reply.status, reply.length, seconds)
        if self._log_requests:
            log.info("%s %s %s %d", request.peer, request.method, request.path[:200], reply.status)
        return reply

    def _recalled(self, request: Request, now: float) -> tuple[str, Reply] | None:
        """The answer of before, if it would be the same today."""
        found = self._recent.get(request.target)
        if (
            found is None
            or found.writes != self._parts.store.catalogue.writes
            or found.until < now
            or request.method not in ("GET", "HEAD")
            or b"range" in request.headers
            or b"if-none-match" in request.headers
        ):
            return None
        self._access.check(request, found.repository, ("pull",))
        return "blob", found.reply

    def _remember(self, request: Request, repository: str, reply: Reply, writes: int) -> None:
        body = reply.body
        if reply.status != 200 or not isinstance(body, FileBody) or not body.ours:
            return
        if len(self._recent) >= _MOST_RECENT:
            self._recent.clear()
        # Not longer than somebody's having asked for it keeps the blob from collection.
        until = time.monotonic() + self._parts.store.grace_s / 4
        self._recent[request.target] = _Recent(repository, reply, writes, until)

    def _route(self, request: Request) -> tuple[str, Reply]:
        method = "GET" if request.method == "HEAD" else request.method
        path = request.path
        found = _PATHS.fullmatch(path)
        kind = found.lastgroup or "" if found is not None else ""
        if not request.may_wait and (kind, method) != _AT_ONCE:
            raise WouldWait
        if found is not None:
            return kind, self._in_repository(kind, method, found["name"], found[kind], request)
        if method != "GET":
            raise Refused("UNSUPPORTED", f"{request.method} is not supported here")
        if path in ("/v2/", "/v2"):
            self._access.check(request, "", ())
            return "base", Reply(200, {"Content-Type": "application/json"}, b"{}")
        if path == "/v2/_catalog":
            self._access.check(request, "", ("catalog",))
            return "catalog", listing.catalogue(Call(self._parts, request, ANYBODY, "", ""))
        if path == "/token" and isinstance(self._access, TokenAccess):
            return "token", self._access.issue(request)
        if path == "/health":
            return "health", Reply(200, {"Content-Type": "text/plain"}, b"ok\n")
        if path == "/metrics":
            return "metrics", Reply(200, {"Content-Type": MEDIA_TYPE}, self.metrics.text())
        if path == "/" or path.startswith("/r/"):
            self._access.check(request, path[3:], ("pull",) if path != "/" else ("catalog",), people=True)
            return "page", page.render(self._parts, path[3:], request.header(b"host"))
        raise Refused("NAME_UNKNOWN", "no such page")

    def _in_repository(self, kind: str, method: str, name: str, which: str, request: Request) -> Reply:
        if not is_repository_path(name):
            raise Refused("NAME_INVALID", "invalid repository name")
        operation = _OPERATIONS.get((kind, method))
        if operation is None:
            raise Refused("UNSUPPORTED", f"{request.method} is not supported here")
        needs = _NEEDS.get(method, _CHANGES)
        if kind == "upload":
            needs = _CHANGES
        user = self._access.check(request, name, needs)
        if needs != ("pull",):
            self._check_writable(name, needs)
        call = Call(self._parts, request, user, name, which)
        if kind == "upload" and request.parameter("mount") and (source := request.parameter("from")):
            call.may_mount = is_repository_path(source) and self._access.allows(request, source, ("pull",))
        writes = self._parts.store.catalogue.writes
        reply = operation(call)
        if kind == "blob" and call.upstreams is None:
            self._remember(request, name, reply, writes)
        return reply

    def _check_writable(self, name: str, needs: tuple[str, ...]) -> None:
        if self._parts.read_only:
            raise Refused("UNSUPPORTED", "this registry is read-only")
        if needs == ("delete",) and not self._parts.deletes:
            raise Refused("UNSUPPORTED", "this registry does not delete")
        if self._parts.upstreams is not None and self._parts.upstreams.serves(name):
            raise Refused("UNSUPPORTED", "this repository is another registry's: push there")
