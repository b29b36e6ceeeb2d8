"""HPACK, the compression of header fields (RFC 7541)."""

from corten.http2.hpack.decoder import Decoder, HeadersTooLarge, HPACKError
from corten.http2.hpack.encoder import Fields, encode

__all__ = ["Decoder", "Fields", "HPACKError", "HeadersTooLarge", "encode"]
