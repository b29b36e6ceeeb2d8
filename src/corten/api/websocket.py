"""A websocket on a connection, for the relay: messages instead of raw bytes."""

from __future__ import annotations

from corten.api.hijack import Consumer, HijackedStream
from corten.api.request import Request
from corten.errors import InvalidParameter
from corten.wire import stdcopy, websocket
from corten.wire.http1 import has_token

_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def handshake(request: Request) -> bytes:
    """The head that turns the connection into a websocket. Raises InvalidParameter if none was asked for."""
    headers = request.headers
    asked = has_token(headers.get(b"connection", b""), b"upgrade")
    if not asked or headers.get(b"upgrade", b"").lower() != b"websocket":
        raise InvalidParameter("not websocket protocol")
    if headers.get(b"sec-websocket-version") != b"13":
        raise InvalidParameter("missing or bad WebSocket Version")
    try:
        accept = websocket.accept(headers.get(b"sec-websocket-key", b""))
    except websocket.WebSocketError as error:
        raise InvalidParameter(str(error)) from None
    protocol = headers.get(b"sec-websocket-protocol", b"").strip()
    spoken = b"Sec-WebSocket-Protocol: %b\r\n" % protocol if protocol and b"," not in protocol else b""
    return b"%bSec-WebSocket-Accept: %b\r\n%b\r\n" % (_SWITCHING, accept, spoken)


class WebSocketStream:
    """Implements `relay.Stream`. There is no half-closing: who ends its sending has gone.

    text: clients before API 1.28 get text messages. framed: what is written are stdcopy frames, of which only
    the payloads are sent.
    """

    def __init__(self, stream: HijackedStream, *, text: bool, framed: bool) -> None:
        self._stream = stream
        self._opcode = websocket.TEXT if text else websocket.BINARY
        self._frames = stdcopy.Decoder() if framed else None
        self._decoder = websocket.Decoder()
        self._consumer: Consumer
        self._over = False

    # the relay's side

    def start(self, consumer: Consumer) -> None:
        """See HijackedStream."""
        self._consumer = consumer
        self._stream.start(self)

    def write(self, data: bytes) -> None:
        """Send bytes as messages."""
        if self._over:
            return
        payloads = [data] if self._frames is None else [piece for _, piece in self._frames.feed(data)]
        self._stream.write(b"".join([websocket.frame(self._opcode, payload) for payload in payloads]))

    async def send(self, data: bytes) -> None:
        """See HijackedStream."""
        self.write(data)
        await self._stream.send(b"")

    async def head_taken(self) -> None:
        """See HijackedStream."""
        await self._stream.head_taken()

    @property
    def writable(self) -> bool:
        """See HijackedStream."""
        return self._stream.writable

    @property
    def lost(self) -> bool:
        """See HijackedStream."""
        return self._over or self._stream.lost

    def pause(self) -> None:
        """See HijackedStream."""
        self._stream.pause()

    def resume(self) -> None:
        """See HijackedStream."""
        self._stream.resume()

    async def finish(self) -> None:
        """Say that this is the end, and close."""
        self._close(websocket.NORMAL)
        await self._stream.finish()

    # the client's side: hijack.Consumer

    def on_data(self, data: bytes) -> None:
        """Frames have arrived."""
        try:
            for event in self._decoder.feed(data):
                if isinstance(event, websocket.Data):
                    self._consumer.on_data(event.data)
                elif isinstance(event, websocket.Ping):
                    self._stream.write(websocket.frame(websocket.PONG, event.payload))
                else:
                    self._end(websocket.NORMAL)
        except websocket.WebSocketError:
            self._end(websocket.PROTOCOL_ERROR)

    def on_end(self) -> None:
        """The client has ended its sending."""
        self._end(websocket.NORMAL)

    def on_lost(self) -> None:
        """The client has gone."""
        self._over = True
        self._consumer.on_lost()

    def on_writable(self) -> None:
        """The client takes data again."""
        if not self._over:
            self._consumer.on_writable()

    def _end(self, code: int) -> None:
        if not self._over:
            self._close(code)
            self._consumer.on_lost()

    def _close(self, code: int) -> None:
        if not self._over:
            self._over = True
            self._stream.write(websocket.close_frame(code))
