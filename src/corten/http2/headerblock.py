"""Blocks of header fields as they come, in one frame or several (RFC 9113, 4.3)."""

from __future__ import annotations

from corten.http2.errors import ConnectionFault, ErrorCode
from corten.http2.frames import END_HEADERS, END_STREAM
from corten.http2.hpack import Decoder, Fields, HeadersTooLarge, HPACKError
from corten.http2.settings import MAX_HEADER_BLOCK

_MAX_FRAGMENTS = 32  # empty ones cost no room in a block


class HeaderReader:
    """Puts blocks together and decodes them. `stream`: whose block is on its way; 0 if there is none."""

    def __init__(self) -> None:
        self.stream = 0
        self.ends_stream = False
        self._fragments: list[bytes] = []
        self._size = 0
        self._decoder = Decoder(MAX_HEADER_BLOCK)

    def begin(self, stream: int, flags: int, fragment: bytes) -> Fields | None:
        """A block of this stream; as `add`."""
        self.ends_stream = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            return self._decoded(fragment)
        self.stream = stream
        self._fragments = []
        self._size = 0
        return self.add(flags, fragment)

    def add(self, flags: int, fragment: bytes) -> Fields | None:
        """More of the block; its fields if this is the last of it.

        Raises ConnectionFault, for more than any honest peer sends too (CVE-2024-27316).
        """
        self._fragments.append(fragment)
        self._size += len(fragment)
        if self._size > MAX_HEADER_BLOCK or len(self._fragments) > _MAX_FRAGMENTS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a block of header fields without an end")
        if not flags & END_HEADERS:
            return None
        self.stream = 0
        return self._decoded(b"".join(self._fragments))

    def _decoded(self, block: bytes) -> Fields:
        try:
            return self._decoder.decode(block)
        except HeadersTooLarge as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, str(error)) from None
        except HPACKError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(error)) from None
