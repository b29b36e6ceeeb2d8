"""Which addresses of a host are listened on."""

import asyncio
import errno
import socket

import pytest

from corten.api.sockets import bind_tcp

OURS, NOT_OURS = "127.0.0.1", "203.0.113.1"


def bound(*addresses):
    """Where it listens if these are a host's addresses."""

    async def main():
        async def getaddrinfo(host, port, **options):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

        asyncio.get_running_loop().getaddrinfo = getaddrinfo
        return await bind_tcp("host", 0)

    sockets = asyncio.run(main())
    found = [sock.getsockname()[0] for sock in sockets]
    for sock in sockets:
        sock.close()
    return found


def test_an_address_that_the_machine_has_not_is_left_out():
    """`localhost` is ::1 as well in many a /etc/hosts, also where IPv6 is switched off."""
    assert bound(NOT_OURS, OURS) == [OURS]
    assert bound(OURS, OURS) == [OURS]


def test_no_address_to_listen_on():
    with pytest.raises(OSError, match=NOT_OURS) as raised:
        bound(NOT_OURS)
    assert raised.value.errno == errno.EADDRNOTAVAIL
