"""Streams of JSON values: progress, events, build output.

dockerd ends values with CRLF on progress and build streams and with LF elsewhere, and escapes on the
former what could be HTML. Clients take values in any chunks and any white space between them.
"""

from __future__ import annotations

import msgspec

_encode = msgspec.json.Encoder().encode


def line(value: object) -> bytes:
    """One value and LF."""
    return _encode(value) + b"\n"


def progress_line(value: object) -> bytes:
    """One value and CRLF, with `<`, `>` and `&` escaped as Go's json.Marshal does."""
    data = _encode(value)
    if b"<" in data or b">" in data or b"&" in data:  # only strings hold them
        data = data.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    return data + b"\r\n"
