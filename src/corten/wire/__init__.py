"""Protocols without I/O: bytes in, values out, and back. No sockets, no asyncio; only `tls` reads files."""
