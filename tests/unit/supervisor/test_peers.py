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
