"""WebSocket, the server's side, without input and output.

Messages are a stream of bytes to us: pieces are given on as they come, so that neither long messages nor
many fragments have to be kept.

Source: RFC 6455: 4.2 (handshake), 5.2 (frames), 5.3 (masking), 5.5 (control frames), 7.4 (close codes).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR = 1000, 1002
_MAX_CONTROL = 125


class WebSocketError(ValueError):
    """The bytes are not what a client may send."""


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered by a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The client sends no more; to be answered by a close."""


Event: TypeAlias = Data | Ping | Close


def accept(key: bytes) -> bytes:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key. Raises WebSocketError if that is none."""
    try:
        if len(base64.b64decode(key, validate=True)) == 16:
            return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    except binascii.Error:
        pass
    raise WebSocketError("missing or bad Sec-WebSocket-Key")


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole, unmasked frame: what servers send."""
    size = len(payload)
    if size < 126:
        return struct.pack(">BB", 0x80 | opcode, size) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack(">BBQ", 0x80 | opcode, 127, size) + payload


def close_frame(code: int) -> bytes:
    """A close frame with its reason."""
    return frame(CLOSE, struct.pack(">H", code))


class Decoder:
    """Takes bytes as they arrive, gives events."""

    __slots__ = ("_buffer", "_closed", "_in_message", "_left", "_mask")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0  # payload bytes of the current data frame that are still to come
        self._mask = b""
        self._in_message = False
        self._closed = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what is complete. Raises WebSocketError. Nothing follows a Close."""
        self._buffer += data
        while not self._closed:
            if self._left:
                if not self._buffer:
                    return
                piece = bytes(self._buffer[: self._left])
                del self._buffer[: len(piece)]
                self._left -= len(piece)
                yield Data(unmasked(piece, self._mask))
                turn = len(piece) % 4
                self._mask = self._mask[turn:] + self._mask[:turn]
                continue
            event = self._next_frame()
            if event is None:
                return
            if event is not _NOTHING:
                yield event

    def _next_frame(self) -> Event | None:
        """A control frame, or nothing to be told once a data frame has begun; None if more is needed."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, final = buffer[0] & 0x0F, bool(buffer[0] & 0x80)
        if buffer[0] & 0x70:
            raise WebSocketError("reserved bits are set")
        if not buffer[1] & 0x80:
            raise WebSocketError("frame is not masked")
        size, at = buffer[1] & 0x7F, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            if len(buffer) < at:
                return None
            size = int.from_bytes(buffer[2:at], "big")
        if len(buffer) < at + 4:
            return None
        mask = bytes(buffer[at : at + 4])
        at += 4
        if opcode in (CONTINUATION, TEXT, BINARY):
            if (opcode == CONTINUATION) != self._in_message or size >> 63:
                raise WebSocketError("unexpected frame")
            self._in_message = not final
            self._left, self._mask = size, mask
            del buffer[:at]
            return _NOTHING
        if opcode not in (CLOSE, PING, PONG) or not final or size > _MAX_CONTROL:
            raise WebSocketError("bad control frame")
        if len(buffer) < at + size:
            return None
        payload = unmasked(bytes(buffer[at : at + size]), mask)
        del buffer[: at + size]
        if opcode == CLOSE:
            self._closed = True
            return Close()
        return Ping(payload) if opcode == PING else _NOTHING


_NOTHING = Data(b"")


def unmasked(data: bytes, mask: bytes) -> bytes:
    """XOR with the four mask bytes, again and again; as numbers, because that is what Python is fast at."""
    size = len(data)
    whole = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(whole, "little")).to_bytes(size, "little")
