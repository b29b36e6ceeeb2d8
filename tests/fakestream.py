"""A connection whose other end is the test (`corten.http2.rawstream.RawStream`)."""

import asyncio


class FakeStream:
    """`sent`: what has been sent to the test, which answers by `consumer.on_data`."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.writes = 0
        self.writable, self.paused, self.aborted = True, False, False
        self.consumer = None

    def start(self, consumer) -> None:
        self.consumer = consumer

    def write(self, data: bytes) -> None:
        self.sent += data
        self.writes += 1

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def abort(self) -> None:
        if not self.aborted:
            self.aborted = True
            asyncio.get_running_loop().call_soon(self.consumer.on_lost)

    def taken(self) -> bytes:
        """What has been sent since the last time."""
        data, self.sent = bytes(self.sent), bytearray()
        return data
