"""Answers as bytes: heads are built once per status and content type."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

import corten
from corten.api.versions import MAX_VERSION_TEXT
from corten.wire.http1 import REASONS

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"

COMMON = (
    f"Api-Version: {MAX_VERSION_TEXT}\r\nOstype: linux\r\nServer: Corten/{corten.__version__} (linux)\r\n"
).encode()
"""Headers of every answer."""


class Answer:
    """A whole answer. `headers`: further lines, each with its CRLF."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self, status: int, body: bytes = b"", content_type: bytes = JSON, headers: bytes = b""
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers


NO_CONTENT: Final = Answer(204)


def warning_header(text: str) -> bytes:
    """A `Warning` header (RFC 7234, section 5.5) for an answer that has no body to say it in."""
    plain = text.encode("ascii", "replace").decode().replace("\\", "").replace('"', "'")
    line = "".join(character for character in plain if character.isprintable())
    return f'Warning: 199 corten "{line}"\r\n'.encode()


@lru_cache(maxsize=256)
def _head(status: int, content_type: bytes, *, has_body: bool) -> bytes:
    kind = b"Content-Type: %b\r\n" % content_type if has_body else b""
    return b"HTTP/1.1 %d %b\r\n%b%b" % (status, REASONS.get(status, "Unknown").encode(), COMMON, kind)


def whole(answer: Answer, *, head_only: bool, close: bool) -> bytes:
    """The bytes of an answer; `head_only` for HEAD requests."""
    status, body = answer.status, answer.body
    has_length = status not in (204, 304)
    length = b"Content-Length: %d\r\n" % (0 if head_only else len(body)) if has_length else b""
    return b"%b%b%bDate: %b\r\n%b\r\n%b" % (
        _head(status, answer.content_type, has_body=bool(body)),
        answer.headers,
        length,
        http_date(),
        b"Connection: close\r\n" if close else b"",
        b"" if head_only else body,
    )


def stream_head(
    status: int, content_type: bytes, headers: bytes = b"", *, chunked: bool, close: bool
) -> bytes:
    """The head of an answer whose length is not known."""
    return b"%b%bDate: %b\r\n%b%b\r\n" % (
        _head(status, content_type, has_body=True),
        headers,
        http_date(),
        b"Transfer-Encoding: chunked\r\n" if chunked else b"",
        b"Connection: close\r\n" if close else b"",
    )


def hijack_head(content_type: bytes, upgrade: bytes | None) -> bytes:
    """The head before a raw stream: 101 if the client asked for an upgrade, otherwise plain 200."""
    if upgrade is None:
        return _head(200, content_type, has_body=True) + b"\r\n"
    return b"%bConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % (
        _head(101, content_type, has_body=True),
        upgrade,
    )


_date: tuple[int, bytes] = (0, b"")


def http_date() -> bytes:
    """Now, as IMF-fixdate (RFC 9110, 5.6.7); renewed once a second."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        parts = time.gmtime(now)
        day, month = _DAYS[parts.tm_wday], _MONTHS[parts.tm_mon - 1]
        _date = (now, time.strftime(f"{day}, %d {month} %Y %H:%M:%S GMT", parts).encode())
    return _date[1]


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
