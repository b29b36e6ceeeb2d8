"""What becomes of the requests of somebody who has died."""

import socket
from typing import Any

import pytest

from corten.supervisor.loop import Loop
from corten.supervisor.peers import Peer


@pytest.mark.parametrize("unread", [False, True])
def test_everything_that_a_dead_peer_has_asked_for_is_done(unread: bool) -> None:
    """Though the first answer finds nobody, and though it has not read what it was told (then its end is an error)."""
    errors: list[BaseException] = []
    loop = Loop(errors.append)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    done: list[int] = []

    def asked(peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        done.append(request["n"])
        peer.answer(request, {})

    def gone(peer: Peer) -> None:
        loop.running = False

    peer = Peer(loop, ours, asked, gone)
    for number in range(3):
        theirs.send(b'{"n":%d}' % number)
    if unread:
        peer.send({"event": "something"})
    theirs.close()
    loop.run()
    assert done == [0, 1, 2]
    assert errors == []
    assert peer.gone


def test_who_lives_and_cannot_be_told_sees_the_end() -> None:
    """Here the message is too long for the socket. What has been asked for is done all the same."""
    loop = Loop(lambda error: None)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.settimeout(10)
    done: list[int] = []
    heard: list[bytes] = []

    def asked(peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        done.append(request["n"])
        if len(done) == 2:
            with theirs:
                heard.append(theirs.recv(1))

    def gone(peer: Peer) -> None:
        loop.running = False

    peer = Peer(loop, ours, asked, gone)
    for number in range(2):
        theirs.send(b'{"n":%d}' % number)
    peer.send({"event": "x" * 50_000})
    assert peer.gone
    loop.run()
    assert (done, heard) == ([0, 1], [b""])
