"""The sockets of a container's resolver: 127.0.0.11, port 53, inside its network namespace.

They are bound to another port, to which packets for port 53 are led, so that a name server in the container
can have port 53 of all addresses.
"""

from __future__ import annotations

import socket

from corten.linux.netlink.nftables import Nftables

ADDRESS = "127.0.0.11"
_PORT = 53
_OTHER_PORT = 61053  # beyond what the kernel gives to those who ask for any port
_BACKLOG = 64
_BUFFER_BYTES = 1 << 20

_RULES = f"""
add table ip corten_dns
delete table ip corten_dns
table ip corten_dns {{
	chain output {{
		type nat hook output priority -100; policy accept;
		ip daddr {ADDRESS} meta l4proto {{ tcp, udp }} th dport {_PORT} dnat to {ADDRESS}:{_OTHER_PORT}
	}}
}}
"""


def open_resolver_sockets() -> tuple[int, int]:
    """(UDP, listening TCP): descriptors, the caller's. In the calling thread's network namespace.

    Where nf_tables cannot do it, they are bound to port 53 itself. Raises OSError.
    """
    port = _OTHER_PORT
    try:
        with Nftables() as nftables:
            nftables.apply(_RULES)
    except OSError:
        port = _PORT
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        udp.bind((ADDRESS, port))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((ADDRESS, port))
        tcp.listen(_BACKLOG)
    except BaseException:
        udp.close()
        tcp.close()
        raise
    return udp.detach(), tcp.detach()
