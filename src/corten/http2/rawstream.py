"""What HTTP/2 runs over: bytes both ways, either of which may have to wait."""

from __future__ import annotations

from typing import Protocol


class Consumer(Protocol):
    """Who gets what the peer sends, on the event loop and without delay."""

    def on_data(self, data: bytes) -> None:
        """Bytes from the peer; `pause()` if they come too fast."""

    def on_end(self) -> None:
        """The peer has ended its sending."""

    def on_lost(self) -> None:
        """The peer has gone."""

    def on_writable(self) -> None:
        """The peer takes data again after `writable` was False."""


class RawStream(Protocol):
    """A connection that is open; implemented by `corten.api.hijack.HijackedStream`, among others."""

    def start(self, consumer: Consumer) -> None:
        """Deliver what has come and what comes."""

    def write(self, data: bytes) -> None:
        """Send; without effect when the peer has gone."""

    def pause(self) -> None:
        """Take nothing from the peer for now."""

    def resume(self) -> None:
        """Take from the peer again."""

    def abort(self) -> None:
        """Drop the connection."""

    @property
    def writable(self) -> bool:
        """Whether the peer takes data."""
