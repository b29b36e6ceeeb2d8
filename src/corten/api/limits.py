"""Bounds on what a client may make us keep in memory or wait for."""

from __future__ import annotations

MAX_HEAD = 128 << 10
"""Bytes of request line and headers (X-Registry-Config can be long)."""
MAX_JSON = 4 << 20
"""Bytes of a JSON body."""

HIGH_WATER = 256 << 10
"""Bytes received but not yet consumed at which reading pauses."""
LOW_WATER = 64 << 10
PIPELINE = 64 << 10
"""Bytes behind a request (pipelined, or early bytes of a hijacked stream) kept while it is answered."""
DISCARD = 256 << 10
"""Bytes of an unread body that are skipped to keep the connection; with more to come it is closed."""

HEAD_S = 30
"""A started head (or TLS handshake) must be complete after this."""
IDLE_S = 600
"""Keep-alive connections without a request are closed after this."""
SETTLE_S = 2
"""How long the end of a stream waits for the exit to be known."""
LINGER_S = 5
"""How long we wait for the client to close first, so that our last bytes are not lost by a reset."""
