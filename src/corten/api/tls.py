"""TLS for the server: contexts, and a transport that can half-close (asyncio's own cannot).

    socket ◄─► SocketTransport ◄─► TLSProtocol (ssl.MemoryBIO) ◄─► TLSTransport ◄─► the inner protocol

After the peer's close_notify we still write; our `write_eof` sends ours, after which nothing is read
but the end (OpenSSL treats data after a shutdown as an error, and we have no use for it).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from corten.api.limits import HEAD_S, HIGH_WATER

_READ = 64 << 10


def server_context(*, certificate: str, key: str, client_ca: str | None) -> ssl.SSLContext:
    """A context for the server; with client_ca only clients that show a certificate of it are let in.

    Paths of PEM files. Raises OSError (ssl.SSLError is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class TLSProtocol(asyncio.Protocol):
    """Sits on the raw transport; makes the inner protocol when the handshake is done."""

    def __init__(self, context: ssl.SSLContext, make_inner: Callable[[], asyncio.Protocol]) -> None:
        self._make_inner = make_inner
        self.inner: asyncio.Protocol | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._reading = True
        self._ended = False  # the peer's close_notify or FIN has been told to the inner protocol
        self._shut = False  # ours has been sent
        self.closing = False
        self._deadline: asyncio.TimerHandle
        self.raw: asyncio.Transport

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's hello."""
        self.raw = cast(asyncio.Transport, transport)
        self._deadline = asyncio.get_running_loop().call_later(HEAD_S, self.raw.abort)

    def data_received(self, data: bytes) -> None:
        """Records have arrived."""
        if self._shut:
            return
        self._incoming.write(data)
        self._pump()

    def eof_received(self) -> bool:
        """The peer's FIN; without close_notify before it the stream was cut, which we treat alike."""
        if self.inner is None:
            return False
        if self._ended:
            return not self.closing
        self._ended = True
        return bool(self.inner.eof_received()) and not self.closing

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._deadline.cancel()
        self.closing = True
        if self.inner is not None:
            self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The socket is full."""
        if self.inner is not None:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        """It is not any more."""
        if self.inner is not None:
            self.inner.resume_writing()

    # for the transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self._shut or self.closing or not data:
            return
        self.tls.write(data)
        self._flush()

    def set_reading(self, reading: bool) -> None:
        """Pause or resume; what was decrypted already stays in OpenSSL meanwhile."""
        if reading == self._reading:
            return
        self._reading = reading
        if reading:
            self.raw.resume_reading()
            asyncio.get_running_loop().call_soon(self._pump)
        else:
            self.raw.pause_reading()

    def shut(self) -> None:
        """Send our close_notify."""
        if not self._shut:
            self._shut = True
            try:
                self.tls.unwrap()
            except ssl.SSLError:  # it would wait for the peer's, which we do not
                pass
            self._flush()

    # inside

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.raw.write(self._outgoing.read())

    def _pump(self) -> None:
        try:
            inner = self.inner or self._handshake()
            while self._reading and not (self._ended or self._shut or self.closing):
                data = self.tls.read(_READ)
                if not data:
                    break
                inner.data_received(data)
                inner = cast(asyncio.Protocol, self.inner)  # a hijack replaces it
            else:
                self._flush()
                return
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLError:
            self._flush()  # the alert that says why
            self.raw.close()
            return
        self._flush()
        self._ended = True
        if self.inner is not None and not self.inner.eof_received() and not self.closing:
            TLSTransport(self).close()

    def _handshake(self) -> asyncio.Protocol:
        self.tls.do_handshake()
        self._flush()
        self._deadline.cancel()
        self.inner = inner = self._make_inner()
        inner.connection_made(TLSTransport(self))
        return inner


class TLSTransport(asyncio.Transport):
    """What the inner protocol sees."""

    def __init__(self, protocol: TLSProtocol) -> None:
        super().__init__()
        self._protocol = protocol

    def get_extra_info(self, name: str, default: object = None) -> object:
        """`ssl_object`, `peercert`, and what the raw transport knows."""
        if name == "ssl_object":
            return self._protocol.tls
        if name == "peercert":
            return self._protocol.tls.getpeercert()
        return self._protocol.raw.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        self._protocol.write(data)

    def can_write_eof(self) -> bool:
        """TLS can half-close."""
        return True

    def write_eof(self) -> None:
        """Send close_notify and then FIN; the other direction stays open."""
        self._protocol.shut()
        if self._protocol.raw.can_write_eof():
            self._protocol.raw.write_eof()

    def pause_reading(self) -> None:
        """Deliver nothing for now."""
        self._protocol.set_reading(False)

    def resume_reading(self) -> None:
        """Deliver again."""
        self._protocol.set_reading(True)

    def is_closing(self) -> bool:
        """Whether it is being closed."""
        return self._protocol.closing

    def close(self) -> None:
        """Send close_notify, then close when everything is sent."""
        self._protocol.shut()
        self._protocol.closing = True
        self._protocol.raw.close()

    def abort(self) -> None:
        """Close at once."""
        self._protocol.closing = True
        self._protocol.raw.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the inner protocol (hijacking)."""
        self._protocol.inner = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The inner protocol."""
        assert self._protocol.inner is not None
        return self._protocol.inner

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes not yet sent."""
        return self._protocol.raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = HIGH_WATER, low: int | None = None) -> None:
        """When to pause the writer."""
        self._protocol.raw.set_write_buffer_limits(high, low)
