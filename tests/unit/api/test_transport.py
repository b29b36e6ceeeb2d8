"""The transport keeps asyncio's promises to protocols, and the listener survives what accept(2) says."""

import asyncio
import errno
import logging
import socket

import pytest

from corten.api import transport
from corten.api.transport import Listener, SocketTransport

MUCH = bytes(4 << 20)


class Recorder(asyncio.Protocol):
    """What it has been told, in order."""

    def __init__(self):
        self.told = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.told.append(data)
        if data == b"fail":
            raise RuntimeError("on purpose")

    def eof_received(self):
        self.told.append("end")
        return True

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")

    def connection_lost(self, exc):
        self.lost.set_result(exc)


@pytest.fixture
def talk():
    """talk(conversation): run conversation(protocol, client's socket) on an event loop."""

    def run(conversation):
        async def main():
            ours, client = socket.socketpair()
            with ours, client:
                for each in (ours, client):
                    each.setblocking(False)
                protocol = Recorder()
                SocketTransport(asyncio.get_running_loop(), ours, protocol)
                async with asyncio.timeout(20):
                    await conversation(protocol, client)
                    protocol.transport.abort()
                    await protocol.lost

        asyncio.run(main())

    return run


async def received(client):
    """All until the end, by a client that takes it now."""
    loop, data = asyncio.get_running_loop(), bytearray()
    while piece := await loop.sock_recv(client, 1 << 20):
        data += piece
    return bytes(data)


def test_what_has_come_before_the_connection_was_made_is_read_at_once():
    async def main():
        ours, client = socket.socketpair()
        with ours, client:
            ours.setblocking(False)
            client.send(b"early")
            protocol = Recorder()
            SocketTransport(asyncio.get_running_loop(), ours, protocol)
            assert protocol.told == [b"early"]
            protocol.transport.abort()
            await protocol.lost

    asyncio.run(main())


def test_who_writes_is_paused_and_nothing_is_lost_by_closing(talk):
    async def conversation(protocol, client):
        protocol.transport.write(MUCH)
        protocol.transport.write(b"last")
        protocol.transport.close()
        assert protocol.told == ["pause"]
        assert await received(client) == MUCH + b"last"
        assert await protocol.lost is None
        assert protocol.told == ["pause", "resume"]

    talk(conversation)


def test_half_closing_waits_for_what_is_unsent(talk):
    async def conversation(protocol, client):
        protocol.transport.write(MUCH)
        protocol.transport.write_eof()
        assert await received(client) == MUCH
        client.send(b"still there")
        client.shutdown(socket.SHUT_WR)
        while "end" not in protocol.told:
            await asyncio.sleep(0)
        assert b"still there" in protocol.told
        assert not protocol.transport.is_closing()
        protocol.transport.abort()
        assert await protocol.lost is None

    talk(conversation)


def test_limits_of_zero_pause_until_all_is_sent(talk):
    async def conversation(protocol, client):
        protocol.transport.set_write_buffer_limits(0)
        protocol.transport.write(MUCH)
        protocol.transport.set_write_buffer_limits()
        assert protocol.transport.get_write_buffer_size() > 0
        reading = asyncio.ensure_future(received(client))
        while "resume" not in protocol.told:
            await asyncio.sleep(0)
        protocol.transport.close()
        assert await reading == MUCH

    talk(conversation)


def test_a_client_that_has_gone_is_noticed_in_writing(talk):
    async def conversation(protocol, client):
        client.close()
        protocol.transport.write(b"x")
        protocol.transport.write(b"y")
        assert protocol.transport.is_closing()
        assert isinstance(await protocol.lost, BrokenPipeError)

    talk(conversation)


@pytest.mark.parametrize("how", ["close", "abort", "write", "write_eof"])
def test_who_ends_it_when_all_is_sent_leaves_nothing_in_the_loop(talk, how):
    """Otherwise the next connection with that descriptor's number could not be watched."""

    async def conversation(protocol, client):
        def resume_writing():
            transport = protocol.transport
            if how == "write":  # and find the client gone
                client.shutdown(socket.SHUT_RDWR)
                transport.write(b"x")
            elif how == "write_eof":
                transport.write_eof()
                transport.abort()
            else:
                getattr(transport, how)()

        protocol.resume_writing = resume_writing
        loop, number = asyncio.get_running_loop(), protocol.transport.get_extra_info("socket").fileno()
        protocol.transport.set_write_buffer_limits(0)
        protocol.transport.write(MUCH)
        await received(client)
        await protocol.lost
        assert not loop.remove_writer(number)

    talk(conversation)


def test_reading_pauses(talk):
    async def conversation(protocol, client):
        protocol.transport.pause_reading()
        client.send(b"x")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert protocol.told == []
        protocol.transport.resume_reading()
        while not protocol.told:
            await asyncio.sleep(0)
        assert protocol.told == [b"x"]

    talk(conversation)


def test_an_unexpected_error_ends_the_connection(talk, caplog):
    async def conversation(protocol, client):
        client.send(b"fail")
        assert str(await protocol.lost) == "on purpose"
        assert await received(client) == b""

    with caplog.at_level(logging.ERROR):
        talk(conversation)
    assert "on purpose" in caplog.text


def test_a_listener_goes_on_when_there_were_no_descriptors(tmp_path, monkeypatch, caplog):
    class Exhausted(socket.socket):
        failures = [errno.EMFILE, errno.ECONNABORTED]

        def _accept(self):
            if self.failures:
                raise OSError(self.failures.pop(), "on purpose")
            return super()._accept()

    async def main():
        made = asyncio.get_running_loop().create_future()

        class Made(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                made.set_result(transport)

        sock = Exhausted(socket.AF_UNIX)
        sock.bind(str(tmp_path / "sock"))
        sock.listen()
        listener = Listener(sock, Made)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "sock"))
            async with asyncio.timeout(20):
                accepted = await made
            accepted.abort()
            await accepted.get_protocol().lost
        listener.close()

    monkeypatch.setattr(transport, "_PAUSE_S", 0)
    asyncio.run(main())
    assert "no connection can be accepted for a moment" in caplog.text


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
@pytest.mark.parametrize("size", [1, 100_000, 200_000])
def test_a_reset_right_after_data_is_noticed(library, size):
    async def main():
        ours, client = socket.socketpair()
        with ours, client:
            ours.setblocking(False)
            protocol = Recorder()
            SocketTransport(asyncio.get_running_loop(), ours, protocol)
            await asyncio.sleep(0.01)  # it is watched by now
            client.send(bytes(size))
            protocol.transport.write(b"never read")
            client.close()
            async with asyncio.timeout(20):
                assert isinstance(await protocol.lost, ConnectionResetError)
        assert sum(map(len, protocol.told)) == size

    pytest.importorskip(library).run(main())
