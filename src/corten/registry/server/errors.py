"""What the registry answers when it refuses: the specification's codes, each with its status.

Source: distribution-spec 1.1, "Error Codes"; TAG_INVALID and RANGE_INVALID are distribution's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from corten.errors import CortenError

_STATUS = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DENIED": 403,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "PAGINATION_NUMBER_INVALID": 400,
    "RANGE_INVALID": 416,
    "SIZE_INVALID": 413,
    "TAG_INVALID": 400,
    "TOOMANYREQUESTS": 429,
    "UNAUTHORIZED": 401,
    "UNAVAILABLE": 502,
    "UNKNOWN": 500,
    "UNSUPPORTED": 405,
}


class WouldWait(Exception):
    """To answer takes waiting for something else than the client, which the request may not (`may_wait`)."""


class Refused(CortenError):
    """The request is not granted; `headers` go into the answer (a challenge, where an upload stands)."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        """The HTTP status that belongs to the code."""
        return _STATUS[self.code]

    @property
    def document(self) -> bytes:
        """The answer's body."""
        return json.dumps({"errors": [{"code": self.code, "message": str(self)}]}).encode()
