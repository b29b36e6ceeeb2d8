"""The messages that log servers understand, one class a protocol.

`encode(stream, line, now_ns)` gives what is to be sent for a line (still with its newline; a piece of an
overlong one has none): one message, or the datagrams of one.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from json.encoder import encode_basestring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Format(Protocol):
        """See above."""

        def encode(self, stream: str, line: bytes, now_ns: int) -> list[bytes]:
            """The messages for a line."""


_INFO, _ERROR = 6, 3  # severities of RFC 5424


def make_format(remote: dict[str, Any]) -> Format:
    """The format of a remote log."""
    makers: dict[str, Callable[[dict[str, Any]], Format]] = {
        "syslog": Syslog,
        "gelf": Gelf,
        "fluentd": Fluentd,
        "journald": Journald,
    }
    return makers[remote["format"]](remote)


def _severity(stream: str) -> int:
    return _ERROR if stream == "stderr" else _INFO


class Syslog:
    """RFC 3164 and RFC 5424, and what syslog(3) writes to a local socket.

    remote: facility, style ("", rfc3164, rfc5424, rfc5424micro), tag, hostname, pid, counted (RFC 5425's
    octet counting, for TLS), network.
    """

    __slots__ = ("_counted", "_facility", "_newline", "_remote", "_second", "_style", "_tail", "_time")

    def __init__(self, remote: dict[str, Any]) -> None:
        self._remote = remote
        self._facility: int = remote["facility"]
        self._style: str = remote["style"]
        self._counted = bool(remote.get("counted"))
        self._newline = b"" if self._counted else b"\n"
        tag, host, pid = remote["tag"], remote["hostname"], remote["pid"]
        local = remote["network"] in ("unix", "unixgram")
        if self._style.startswith("rfc5424"):
            self._tail = f" {host or '-'} {tag} {pid} {tag} - ".encode()
        elif local and not self._style:
            self._tail = f" {tag}[{pid}]: ".encode()
        else:
            self._tail = f" {host} {tag}[{pid}]: ".encode()
        self._second, self._time = -1, b""

    def encode(self, stream: str, line: bytes, now_ns: int) -> list[bytes]:
        priority = self._facility * 8 + _severity(stream)
        version = b"1 " if self._style.startswith("rfc5424") else b""
        text = b"<%d>%s%s%s%s" % (priority, version, self._stamp(now_ns), self._tail, line.rstrip(b"\n"))
        if self._counted:
            return [b"%d %s" % (len(text), text)]
        return [text + self._newline]

    def _stamp(self, now_ns: int) -> bytes:
        second, fraction = divmod(now_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            moment = time.localtime(second)
            if self._style == "rfc3164" or (not self._style and self._remote["network"] == "unixgram"):
                self._time = (time.strftime("%b ", moment) + f"{moment.tm_mday:2d}").encode()
                self._time += time.strftime(" %H:%M:%S", moment).encode()
            else:
                self._time = time.strftime("%Y-%m-%dT%H:%M:%S", moment).encode()
        if self._style == "rfc3164" or (not self._style and self._remote["network"] == "unixgram"):
            return self._time
        zone = _zone(second)
        if self._style == "rfc5424micro":
            return self._time + b".%06d" % (fraction // 1000) + zone
        return self._time + zone


def _zone(second: int) -> bytes:
    offset = time.localtime(second).tm_gmtoff // 60
    if not offset:
        return b"Z"
    return b"%s%02d:%02d" % (b"-" if offset < 0 else b"+", abs(offset) // 60, abs(offset) % 60)


class Gelf:
    """Graylog's format 1.1: JSON, over UDP compressed and in chunks, over TCP ended by a zero byte.

    remote: host, fields (what every message carries), compression (gzip, zlib, none), level, network.
    """

    __slots__ = ("_compression", "_level", "_tail", "_udp")
    _CHUNK = 1420 - 12
    _CHUNKS_MAX = 128

    def __init__(self, remote: dict[str, Any]) -> None:
        self._udp = remote["network"] == "udp"
        self._compression: str = remote.get("compression", "gzip")
        self._level: int = remote.get("level", 1)
        fields = {"version": "1.1", "host": remote["host"], **remote["fields"]}
        pairs = (f"{encode_basestring(k)}:{encode_basestring(v)}" for k, v in fields.items())
        self._tail = "".join(f",{pair}" for pair in pairs)

    def encode(self, stream: str, line: bytes, now_ns: int) -> list[bytes]:
        text = encode_basestring(line.rstrip(b"\n").decode("utf-8", "replace"))
        seconds = f"{now_ns // 1_000_000_000}.{now_ns % 1_000_000_000 // 1_000_000:03d}"
        document = f'{{"short_message":{text},"timestamp":{seconds},"level":{_severity(stream)}{self._tail}}}'
        data = document.encode()
        if not self._udp:
            return [data + b"\0"]
        return self._chunks(self._packed(data))

    def _packed(self, data: bytes) -> bytes:
        if self._compression == "none":
            return data
        bits = zlib.MAX_WBITS | (16 if self._compression == "gzip" else 0)
        packer = zlib.compressobj(self._level, zlib.DEFLATED, bits)
        return packer.compress(data) + packer.flush()

    def _chunks(self, data: bytes) -> list[bytes]:
        if len(data) <= self._CHUNK + 12:
            return [data]
        parts = [data[i : i + self._CHUNK] for i in range(0, len(data), self._CHUNK)]
        if len(parts) > self._CHUNKS_MAX:
            return []
        head = b"\x1e\x0f" + os.urandom(8)
        return [head + bytes((i, len(parts))) + part for i, part in enumerate(parts)]


class Fluentd:
    """The forward protocol's message mode: MessagePack of [tag, time, record, {}].

    remote: tag, fields (container_id, container_name and what labels and env add), precise (sub-second time).
    """

    __slots__ = ("_fields", "_precise", "_tag")

    def __init__(self, remote: dict[str, Any]) -> None:
        self._tag = _text(remote["tag"])
        self._fields = b"".join(_text(k) + _text(v) for k, v in remote["fields"].items())
        self._precise = bool(remote.get("precise"))
        count = len(remote["fields"]) + 2
        self._fields = bytes((0x80 | count,)) + self._fields if count < 15 else self._large(count)

    def _large(self, count: int) -> bytes:
        return b"\xde" + struct.pack(">H", count) + self._fields

    def encode(self, stream: str, line: bytes, now_ns: int) -> list[bytes]:
        partial = not line.endswith(b"\n")
        second, fraction = divmod(now_ns, 1_000_000_000)
        moment = (
            struct.pack(">BBII", 0xD7, 0, second, fraction)
            if self._precise
            else b"\xce" + struct.pack(">I", second)
        )
        record = self._with_one_more() if partial else self._fields
        log = line.rstrip(b"\n").decode("utf-8", "replace")
        record += _text("source") + _text(stream) + _text("log") + _text(log)
        if partial:
            record += _text("partial_message") + _text("true")
        return [b"\x94" + self._tag + moment + record + b"\x80"]

    def _with_one_more(self) -> bytes:
        if self._fields[0] == 0xDE:
            count = struct.unpack(">H", self._fields[1:3])[0]
            return b"\xde" + struct.pack(">H", count + 1) + self._fields[3:]
        return bytes((self._fields[0] + 1,)) + self._fields[1:]


def _text(value: str) -> bytes:
    """A MessagePack string."""
    data = value.encode("utf-8", "replace")
    if len(data) < 32:
        return bytes((0xA0 | len(data),)) + data
    if len(data) < 256:
        return b"\xd9" + bytes((len(data),)) + data
    if len(data) < 65536:
        return b"\xda" + struct.pack(">H", len(data)) + data
    return b"\xdb" + struct.pack(">I", len(data)) + data


class Journald:
    """systemd's native protocol: one datagram of FIELD=value lines. remote: fields."""

    __slots__ = ("_fields",)

    def __init__(self, remote: dict[str, Any]) -> None:
        self._fields = b"".join(_field(k, v.encode("utf-8", "replace")) for k, v in remote["fields"].items())

    def encode(self, stream: str, line: bytes, now_ns: int) -> list[bytes]:
        message = _field("MESSAGE", line.rstrip(b"\n")) + b"PRIORITY=%d\n" % _severity(stream)
        if not line.endswith(b"\n"):
            message += b"CONTAINER_PARTIAL_MESSAGE=true\n"
        return [message + self._fields]


def _field(name: str, value: bytes) -> bytes:
    """A value with a newline in it is preceded by its length."""
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
