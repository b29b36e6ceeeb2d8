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
    """A whole answer. `headers`: further lines, each with its CRLF.

    `lasting`: every such request is answered so, whoever asks, as long as the engine runs.
    """

    __slots__ = ("body", "content_type", "headers", "lasting", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: bytes = JSON,
        headers: bytes = b"",
        *,
        lasting: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.lasting = lasting


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
    before, after = split_at_date(answer, head_only=head_only, close=close)
    return b"%b%b%b" % (before, http_date(), after)


def split_at_date(answer: Answer, *, head_only: bool, close: bool = False) -> tuple[bytes, bytes]:
    """The bytes of an answer before and after the date."""
    status, body = answer.status, answer.body
    has_length = status not in (204, 304)
    length = b"Content-Length: %d\r\n" % (0 if head_only else len(body)) if has_length else b""
    head = _head(status, answer.content_type, has_body=bool(body))
    return (
        b"%b%b%bDate: " % (head, answer.headers, length),
        b"\r\n%b\r\n%b" % (b"Connection: close\r\n" if close else b"", b"" if head_only else body),
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
    if not 0 <= time.time() - _date[0] < 1:
        now = int(time.time())
        _date = (now, _date_but_seconds(now // 60) + _SECONDS[now % 60])
    return _date[1]


@lru_cache(maxsize=1)
def _date_but_seconds(minute: int) -> bytes:
    at = time.gmtime(minute * 60)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    return f"{day}, {at.tm_mday:02} {month} {at.tm_year} {at.tm_hour:02}:{at.tm_min:02}:".encode()


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECONDS = [b"%02d GMT" % second for second in range(60)]
