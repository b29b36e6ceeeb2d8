"""Log records, Docker's json-file format, and the times in them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus

import msgspec


class Record(msgspec.Struct, gc=False):
    """One line of a json-file log; `log` lacks its newline when it is a part of a long line."""

    log: str = ""
    stream: str = ""
    time: str = ""
    attrs: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(Record)


def parse_lines(data: bytes) -> list[Record]:
    """Decode complete lines; lines torn by a crash or a power cut are left out."""
    try:
        return _decoder.decode_lines(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [record for line in data.split(b"\n") if (record := _parse_line(line)) is not None]


def _parse_line(line: bytes) -> Record | None:
    # A torn write that was continued after a crash shows as garbage before the next object.
    start = line.find(b'{"log":')
    if start < 0:
        return None
    try:
        return _decoder.decode(line[start:])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def fixed_time(stamp: str) -> str:
    """An RFC 3339 time in UTC with exactly nine digits of fraction: sorts as text, prints as Docker's."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9.9}Z"


def fixed_time_ns(ns: int) -> str:
    """The same for nanoseconds since 1970."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which records, and what goes before each line.

    since_ns, until_ns: nanoseconds since 1970, inclusive. tail: the last N records, None = all.
    """

    stdout: bool = True
    stderr: bool = True
    since_ns: int | None = None
    until_ns: int | None = None
    tail: int | None = None
    follow: bool = False
    timestamps: bool = False
    details: bool = False


def details_text(attrs: Mapping[str, str] | None) -> str:
    """`--details`: sorted, query-escaped `key=value` pairs."""
    if not attrs:
        return ""
    return ",".join(f"{quote_plus(key)}={quote_plus(attrs[key])}" for key in sorted(attrs))


class Formatter:
    """Applies a query's selection and prefixes; remembers where each stream is within a line."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._since = "" if query.since_ns is None else fixed_time_ns(query.since_ns)
        self._until = "" if query.until_ns is None else fixed_time_ns(query.until_ns)
        self._plain = not (query.timestamps or query.details)
        self._in_line: set[str] = set()  # streams whose last record did not end its line
        self._past_until = False

    def is_past_until(self) -> bool:
        """Whether a record later than `until_ns` has been seen: nothing further is wanted."""
        return self._past_until

    def select(self, records: list[Record]) -> list[tuple[int, bytes]]:
        """The wanted records as (1 = stdout, 2 = stderr; bytes to show), in order."""
        chosen: list[tuple[int, bytes]] = []
        for record in records:
            if self._since or self._until:
                stamp = fixed_time(record.time)
                if self._since and stamp < self._since:
                    continue
                if self._until and stamp > self._until:
                    self._past_until = True
                    break
            if record.stream == "stderr":
                if self._query.stderr:
                    chosen.append((2, self._format(record)))
            elif self._query.stdout:
                chosen.append((1, self._format(record)))
        return chosen

    def _format(self, record: Record) -> bytes:
        text = record.log
        if self._plain:
            return text.encode()
        continued = record.stream in self._in_line
        if text.endswith("\n"):
            self._in_line.discard(record.stream)
        else:
            self._in_line.add(record.stream)
        if continued:
            return text.encode()
        prefix = fixed_time(record.time) + " " if self._query.timestamps else ""
        if self._query.details:
            prefix += details_text(record.attrs) + " "
        return (prefix + text).encode()
