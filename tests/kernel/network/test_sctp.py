"""Published SCTP ports, where the kernel has them (tests/vm)."""

import os
import socket

import pytest
from world import HOST, OUTSIDE, TIMEOUT_S, World, inside, isolated

from corten.network.values import PortRequest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif("CORTEN_ALL_KINDS" not in os.environ, reason="needs a kernel with SCTP: tests/vm"),
]


def sctp(netns_fd: int | None) -> socket.socket:
    def make() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)

    made = make() if netns_fd is None else inside(netns_fd, make)
    assert isinstance(made, socket.socket)
    made.settimeout(TIMEOUT_S * 4)
    return made


@isolated
def test_published_sctp_port(tmp_path):
    world = World(str(tmp_path))
    request = PortRequest(protocol="sctp", container_port=80, first_host_port=8080, last_host_port=8080)
    world.start("web", request)
    with sctp(world.netns("web")) as server:
        server.bind(("0.0.0.0", 80))
        server.listen()
        for netns, address in ((world.outside, HOST), (None, HOST)):
            with sctp(netns) as client:
                client.connect((address, 8080))
                accepted, peer = server.accept()
                with accepted:
                    client.sendall(b"ping")
                    assert accepted.recv(4) == b"ping"
                if netns is world.outside:
                    assert peer[0] == OUTSIDE
    world.stop("web")
    with sctp(world.outside) as client, pytest.raises(OSError):
        client.connect((HOST, 8080))
