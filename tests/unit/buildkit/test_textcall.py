"""Small files of a client's: answered as they come, there with their last byte, whatever comes after."""

import asyncio
from types import SimpleNamespace

import pytest

from corten.buildkit.grpc.call import framed
from corten.buildkit.grpc.status import GRPCError
from corten.buildkit.proto.files_pb2 import DATA, ERROR, FIN, REQUEST, STAT, Packet, Stat
from corten.buildkit.textcall import TextCall
from corten.buildkit.transfer import BadTree
from corten.errors import Unavailable
from corten.http2 import frames
from corten.http2.errors import StreamLost
from corten.http2.settings import PeerSettings
from corten.wire.gomode import to_go

LISTED = [Packet(type=STAT, stat=Stat(path=b"f", mode=to_go(0o100644), size=3)), Packet(type=STAT)]
CONTENT = [Packet(type=DATA, data=b"abc"), Packet(type=DATA)]
FAREWELL = [Packet(type=FIN)]


class Peer:
    """A connection of which a call's frames are kept: what has been sent when the call has acted."""

    def __init__(self) -> None:
        self.peer, self.send_window, self.blocked = PeerSettings(), 1 << 16, {}
        self.sent, self._put = b"", b""
        self.outbox = SimpleNamespace(put=self._take, flush=self.flush, blocked=False)
        self.has_forgotten = False

    def _take(self, data: bytes) -> None:
        self._put += data

    def flush(self) -> None:
        self.sent, self._put = self.sent + self._put, b""

    def give_back(self, count: int) -> None:
        pass

    def forget(self, identifier: int) -> None:
        self.has_forgotten = True

    def reset(self, identifier: int, code: object) -> None:
        self.has_forgotten = True
        self.flush()

    def answers(self) -> list[tuple[int, bool]]:
        """Kinds of the packets that have been sent, and whether each was the last word."""
        found, sent = [], self.sent
        self.sent = b""
        while sent:
            high, low, _, flags, _ = frames.HEAD.unpack_from(sent)
            end = frames.HEAD.size + (high << 8 | low)
            packet = Packet.FromString(sent[frames.HEAD.size + 5 : end])
            found.append((packet.type, bool(flags & frames.END_STREAM)))
            sent = sent[end:]
        return found


def run(test) -> None:
    async def begin() -> None:
        peer = Peer()
        await test(peer, TextCall(peer, 1, ["f", "g"]))

    asyncio.run(begin())


def come(call: TextCall, packets: list[Packet]) -> None:
    data = b"".join(map(framed, packets))
    call.receive_data(data, len(data), end=False)


def test_pieces_are_answered_at_once_and_the_farewell_is_waited_for_by_nobody():
    async def test(peer, call):
        come(call, LISTED)
        assert peer.answers() == [(REQUEST, False)]
        come(call, CONTENT)
        assert peer.answers() == [(FIN, True)]
        found = await asyncio.wait_for(call.texts(), 10)
        assert (found.text("f"), found.text("g")) == (b"abc", None)
        assert found.received_bytes == len(b"".join(map(framed, [*LISTED, *CONTENT])))
        come(call, FAREWELL)
        call.receive_headers([(b"grpc-status", b"0")], end=True)
        assert peer.has_forgotten
        assert peer.answers() == []

    run(test)


def test_who_waits_no_more_leaves_a_transfer_that_still_ends():
    async def test(peer, call):
        waiting = asyncio.ensure_future(call.texts())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        come(call, LISTED)
        come(call, CONTENT)
        assert peer.answers() == [(REQUEST, False), (FIN, True)]
        call.receive_headers([(b"grpc-status", b"0")], end=True)
        assert peer.has_forgotten

    run(test)


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ([(b"grpc-status", b"5"), (b"grpc-message", b"no such dir")], GRPCError, "no such dir"),
        ([(b"grpc-status", b"0")], Unavailable, "ended the transfer"),
    ],
)
def test_a_client_that_ends_it_too_early(fields, error, said):
    async def test(peer, call):
        come(call, LISTED)
        call.receive_headers(fields, end=True)
        with pytest.raises(error) as raised:
            await call.texts()
        assert said in str(raised.value)

    run(test)


def test_a_session_that_is_lost():
    async def test(peer, call):
        call.lose(StreamLost("the connection was lost"))
        with pytest.raises(Unavailable, match="session has ended: the connection was lost"):
            await call.texts()

    run(test)


def test_a_client_that_keeps_to_no_rules_is_told_so():
    async def test(peer, call):
        come(call, [*LISTED, Packet(type=FIN)])
        assert peer.answers() == [(ERROR, False)]
        assert peer.has_forgotten
        with pytest.raises(BadTree, match="before all files had come"):
            await call.texts()

    run(test)


def test_what_breaks_the_rules_after_the_files_have_come_ends_the_call_alone():
    async def test(peer, call):
        come(call, [*LISTED, *CONTENT])
        come(call, [Packet(type=DATA, data=b"more")])
        assert peer.has_forgotten
        assert (await call.texts()).text("f") == b"abc"

    run(test)
