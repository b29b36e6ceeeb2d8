"""DNS messages (RFC 1035, 6891) as far as a resolver for containers needs them: bytes in, bytes out.

Standard library only and cheap to import: the resolver process uses it.
"""

from __future__ import annotations

import struct

A = 1
PTR = 12
AAAA = 28
OPT = 41
IN = 1

NOERROR = 0
FORMERR = 1
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5

_QR = 0x8000
_OPCODE = 0x7800
_TC = 0x0200
_RD = 0x0100
_RA = 0x0080
_HEADER = struct.Struct(">HHHHHH")
_QUESTION = struct.Struct(">HH")
_RECORD = struct.Struct(">HHHIH")  # name, type, class, seconds to live, length of the data
_FIXED = struct.Struct(">HHIH")  # the same behind a name
HEADER_SIZE = _HEADER.size
_MAX_NAME = 255
_MAX_LABEL = 63
_NAME_OF_QUESTION = 0xC00C  # a pointer to the name that follows the header
_OUR_PAYLOAD = 1232  # what fits into one packet everywhere (dnsflagday.net/2020)
_ADDRESS_SIZES = {A: 4, AAAA: 16}
_OPT_RECORD = b"\0" + struct.pack(">HHIH", OPT, _OUR_PAYLOAD, 0, 0)


class Query:
    """A question. `name` is in lower case, without the dot at its end; `question`: its bytes."""

    __slots__ = ("flags", "has_opt", "id", "kind", "klass", "name", "payload", "question")

    def __init__(
        self, identifier: int, flags: int, name: str, kind: int, klass: int, question: bytes
    ) -> None:
        self.id = identifier
        self.flags = flags
        self.name = name
        self.kind = kind
        self.klass = klass
        self.question = question
        self.has_opt = False
        self.payload = 512


def parse_query(data: bytes) -> Query | None:
    """The one question of a message; None if it is no query that can be answered, not even with an error."""
    if len(data) < HEADER_SIZE:
        return None
    identifier, flags, questions, answers, _, additional = _HEADER.unpack_from(data)
    if flags & _QR or flags & _OPCODE or questions != 1 or answers:
        return None
    labels = []
    offset = HEADER_SIZE
    while True:
        if offset >= len(data):
            return None
        length = data[offset]
        offset += 1
        if not length:
            break
        if length > _MAX_LABEL or offset + length > len(data) or offset - HEADER_SIZE > _MAX_NAME:
            return None  # also pointers: there is nothing before a question to point to
        labels.append(data[offset : offset + length])
        offset += length
    if offset + _QUESTION.size > len(data):
        return None
    kind, klass = _QUESTION.unpack_from(data, offset)
    offset += _QUESTION.size
    name = b".".join(labels).decode("latin-1").lower()
    query = Query(identifier, flags, name, kind, klass, data[HEADER_SIZE:offset])
    if additional and data[offset : offset + 1] == b"\0" and offset + 11 <= len(data):
        type_, payload = _QUESTION.unpack_from(data, offset + 1)
        if type_ == OPT:
            query.has_opt, query.payload = True, max(512, payload)
    return query


def reply(
    query: Query, code: int, records: list[tuple[int, int, bytes]] | tuple[()] = (), limit: int = 65535
) -> bytes:
    """An answer with (kind, seconds to live, data) for the name asked for; cut short (TC) beyond `limit`."""
    flags = _QR | (query.flags & _RD) | _RA | code
    body = b"".join(
        _RECORD.pack(_NAME_OF_QUESTION, kind, IN, ttl, len(data)) + data for kind, ttl, data in records
    )
    count = len(records)
    extra = _OPT_RECORD if query.has_opt else b""
    if HEADER_SIZE + len(query.question) + len(body) + len(extra) > limit:
        flags, body, count = flags | _TC, b"", 0
    return _HEADER.pack(query.id, flags, 1, count, 0, 1 if extra else 0) + query.question + body + extra


def is_answer_to(data: bytes, identifier: int, question: bytes) -> bool:
    """Whether a message from a server answers our question (whose letters it may write in other cases)."""
    if len(data) < HEADER_SIZE + len(question):
        return False
    number, flags = struct.unpack_from(">HH", data)
    asked = data[HEADER_SIZE : HEADER_SIZE + len(question)]
    return number == identifier and bool(flags & _QR) and asked.lower() == question.lower()


def code_of(data: bytes) -> int:
    """The response code of a message."""
    return data[3] & 0x0F


def with_id(data: bytes, identifier: int) -> bytes:
    """The message with another id."""
    return identifier.to_bytes(2, "big") + data[2:]


def plain_query(query: Query) -> bytes:
    """The question alone, in lower case, without anything else that a client has put into its message."""
    extra = _OPT_RECORD if query.has_opt else b""
    header = _HEADER.pack(query.id, _RD, 1, 0, 0, 1 if extra else 0)
    size = _QUESTION.size
    return header + query.question[:-size].lower() + query.question[-size:] + extra


def with_question(data: bytes, query: Query) -> bytes:
    """An answer to the plain query as the client expects it, with the letters that it has used."""
    return data[:HEADER_SIZE] + query.question + data[HEADER_SIZE + len(query.question) :]


def addresses(data: bytes) -> list[tuple[bytes, int]]:
    """(packed address, seconds to live) of the A and AAAA records that answer, as far as they are whole."""
    found: list[tuple[bytes, int]] = []
    if len(data) < HEADER_SIZE:
        return found
    _, _, questions, answers, _, _ = _HEADER.unpack_from(data)
    offset = HEADER_SIZE
    for _ in range(questions):
        offset = _after_name(data, offset) + _QUESTION.size
    for _ in range(answers):
        offset = _after_name(data, offset)
        if offset + _FIXED.size > len(data):
            return found
        kind, klass, ttl, length = _FIXED.unpack_from(data, offset)
        offset += _FIXED.size
        content = data[offset : offset + length]
        offset += length
        if klass == IN and len(content) == length == _ADDRESS_SIZES.get(kind):
            found.append((content, ttl & 0x7FFFFFFF))
    return found


def _after_name(data: bytes, offset: int) -> int:
    """Where a name ends; beyond the message if it is broken. Pointers are passed, not followed."""
    while offset < len(data):
        length = data[offset]
        if length & 0xC0 == 0xC0:
            return offset + 2
        if length > _MAX_LABEL:
            break
        offset += 1 + length
        if not length:
            return offset
    return len(data) + 1


def encode_name(name: str) -> bytes:
    """A name as labels. Raises ValueError if a label is empty or too long."""
    out = b""
    for label in name.rstrip(".").split("."):
        data = label.encode("utf-8", "surrogateescape")
        if not 0 < len(data) <= _MAX_LABEL:
            raise ValueError(f"not a name: {name!r}")
        out += bytes((len(data),)) + data
    if len(out) > _MAX_NAME:
        raise ValueError(f"not a name: {name!r}")
    return out + b"\0"


def reverse_address(name: str) -> bytes | None:
    """The packed address that a name below in-addr.arpa or ip6.arpa stands for; None for other names."""
    if name.endswith(".in-addr.arpa"):
        parts = name[: -len(".in-addr.arpa")].split(".")
        if len(parts) == 4 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
            return bytes(int(part) for part in reversed(parts))
    elif name.endswith(".ip6.arpa"):
        digits = name[: -len(".ip6.arpa")].split(".")
        if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
            try:
                return bytes.fromhex("".join(reversed(digits)))
            except ValueError:
                return None
    return None
