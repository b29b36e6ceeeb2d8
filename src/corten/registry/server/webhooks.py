"""Telling other servers of pushes, pulls and deletions, in distribution's envelope of events.

Events wait in memory, each endpoint has its own queue and thread; an endpoint that does not answer is tried
again with growing pauses, and what does not fit into its queue is dropped and counted. A restart loses what
waits: webhooks are hints, the registry's content is the truth.

Source: distribution's docs, "Work with notifications".
"""

from __future__ import annotations

import http.client
import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from corten.registry.server.messages import Request

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/vnd.docker.distribution.events.v2+json"
_WAITING = 1000
_TIMEOUT_S = 10.0
_TRIES = 5
_FIRST_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where events go. headers: e.g. Authorization. actions: which ones (none: push and delete)."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    actions: frozenset[str] = frozenset(("push", "delete"))


class Webhooks:
    """All endpoints."""

    def __init__(self, endpoints: list[Endpoint], *, pause_s: float = _FIRST_PAUSE_S) -> None:
        self._queues: list[tuple[Endpoint, queue.Queue[dict[str, object] | None]]] = []
        self._stopping = threading.Event()
        self._pause_s = pause_s
        self.sent = self.dropped = 0
        for endpoint in endpoints:
            waiting: queue.Queue[dict[str, object] | None] = queue.Queue(_WAITING)
            self._queues.append((endpoint, waiting))
            threading.Thread(target=self._run, args=(endpoint, waiting), name="webhook", daemon=True).start()

    def tell(
        self, request: Request, user: str, action: str, repository: str,
        digest: str, media_type: str, size: int, tag: str,
    ) -> None:  # fmt: skip
        """Queue an event for those who want it; never waits."""
        event: dict[str, object] | None = None
        for endpoint, waiting in self._queues:
            if action not in endpoint.actions:
                continue
            if event is None:
                event = _event(request, user, action, repository, digest, media_type, size, tag)
            try:
                waiting.put_nowait(event)
            except queue.Full:
                self.dropped += 1

    def close(self) -> None:
        """Send no more."""
        self._stopping.set()
        for _, waiting in self._queues:
            try:
                waiting.put_nowait(None)
            except queue.Full:
                pass  # its thread sees that we are stopping

    def _run(self, endpoint: Endpoint, waiting: queue.Queue[dict[str, object] | None]) -> None:
        while (event := waiting.get()) is not None and not self._stopping.is_set():
            body = json.dumps({"events": [event]}).encode()
            pause = self._pause_s
            for left in reversed(range(_TRIES)):
                try:
                    _post(endpoint, body)
                    self.sent += 1
                    break
                except (OSError, http.client.HTTPException) as e:
                    if not left or self._stopping.wait(pause):
                        log.warning(
                            "webhook", extra={"host": urlsplit(endpoint.url).hostname, "reason": str(e)}
                        )
                        self.dropped += 1
                        break
                    pause *= 2


def _post(endpoint: Endpoint, body: bytes) -> None:
    parts = urlsplit(endpoint.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {"Content-Type": MEDIA_TYPE, **endpoint.headers})
        status = connection.getresponse().status
    finally:
        connection.close()
    if not 200 <= status < 400:
        raise http.client.HTTPException(f"status {status}")


def _event(
    request: Request, user: str, action: str, repository: str,
    digest: str, media_type: str, size: int, tag: str,
) -> dict[str, object]:  # fmt: skip
    kind = "blobs" if media_type == "application/octet-stream" else "manifests"
    target: dict[str, object] = {
        "mediaType": media_type, "digest": digest, "size": size, "length": size, "repository": repository,
        "url": f"{request.origin}/v2/{repository}/{kind}/{digest or tag}",
    }  # fmt: skip
    if tag:
        target["tag"] = tag
    now = time.time()
    return {
        "id": str(uuid.uuid4()),
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09}Z",
        "action": action,
        "target": target,
        "request": {
            "id": str(uuid.uuid4()), "addr": request.peer, "host": request.header(b"host"),
            "method": request.method, "useragent": request.header(b"user-agent"),
        },
        "actor": {"name": user},
        "source": {"addr": request.header(b"host")},
    }  # fmt: skip
