"""Names that a container with an egress policy may have looked up, and the addresses that come of it.

The answer's addresses are put into the policy's nf_tables sets (`corten.network.egress.ruleset`) before the
container sees them, for as long as they are valid and a while longer, because programs remember them.
"""

from __future__ import annotations

import errno
import struct
import time

from corten.linux.netlink import elements
from corten.linux.netlink.nfnetlink import NFPROTO_INET
from corten.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket
from corten.wire import dns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LEAST_S = 300  # a program may go on using an address that it has asked for this long ago
_MOST_S = 86400
_MOST_GRANTS = 4096  # addresses of one container
_METADATA = b"\xfd\x00\x0e\xc2" + bytes(10) + b"\x02\x54"  # fd00:ec2::254, of Amazon's machines
_NAT64 = b"\0\x64\xff\x9b" + bytes(8)  # RFC 6052: behind it is an IPv4 address
_TOLD = 256  # refused names of one container that are told of only once


class Egress:
    """What one container may ask for. Each policy is a list of (pattern, names of sets); all must agree."""

    __slots__ = ("policies", "refused", "table")

    def __init__(self, table: str, policies: list[list[list[str]]]) -> None:
        """policies: from the engine: [["*.example.com", "c0123456789ab_0"], ...] each."""
        self.table = table
        self.policies = policies
        self.refused: set[str] = set()

    def allows(self, query: dns.Query) -> bool:
        """Whether others may be asked this."""
        return query.klass == dns.IN and all(
            any(matches(pattern, query.name) for pattern, _ in policy) for policy in self.policies
        )

    def sets(self, name: str) -> list[str]:
        """The sets that the addresses of a name belong to."""
        return [each for policy in self.policies for pattern, each in policy if matches(pattern, name)]

    def is_news(self, name: str) -> bool:
        """Whether the refusal of a name has not been told of yet."""
        if name in self.refused:
            return False
        if len(self.refused) >= _TOLD:
            self.refused.clear()
        self.refused.add(name)
        return True


def matches(pattern: str, name: str) -> bool:
    """Whether a name is meant by "example.com", or by "*.example.com" (all below it, not itself)."""
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
    return name == pattern


class Grants:
    """Addresses in the sets of one container's policies, and until when."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str, bytes], float] = {}  # table, set, address -> monotonic seconds
        self._socket: NetlinkSocket | None = None

    def grant(self, egress: Egress, name: str, answer: bytes) -> None:
        """Let the container reach the addresses in an answer. Raises OSError."""
        now = time.monotonic()
        sets = egress.sets(name)
        fresh: dict[tuple[str, str, bytes], float] = {}
        for address, seconds in dns.addresses(answer):
            if is_granted(address):
                version = 4 if len(address) == 4 else 6
                until = now + min(max(seconds, _LEAST_S), _MOST_S)
                fresh.update({(egress.table, f"names{version}_{each}", address): until for each in sets})
        if len(self._until) + len(fresh) > _MOST_GRANTS:
            self._until = {key: until for key, until in self._until.items() if until > now}
        if len(self._until) + len(fresh) <= _MOST_GRANTS:
            self._until.update(fresh)
        self._put(fresh.items(), now)

    def again(self) -> None:
        """Put everything that is still valid into the sets, which have been made anew. Raises OSError."""
        now = time.monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now}
        self._put(self._until.items(), now)

    def _put(self, grants: Iterable[tuple[tuple[str, str, bytes], float]], now: float) -> None:
        messages = []
        for (table, name, address), until in grants:
            timeout_ms = max(1, int((until - now) * 1000))
            add = elements.add_element(
                NFPROTO_INET, table, name, address, timeout_ms=timeout_ms, exclusive=False
            )
            # Before Linux 6.12 adding what is there leaves its timeout as it was.
            messages += [add, elements.delete_element(NFPROTO_INET, table, name, address), add]
        if not messages:
            return
        if self._socket is None:
            self._socket = NetlinkSocket(NETLINK_NETFILTER)
        elements.commit(self._socket, messages, tolerate=(errno.ENOENT,))

    def close(self) -> None:
        """The container has gone, and its sets with it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def is_granted(address: bytes) -> bool:
    """Not this machine, nor what only a link knows (metadata services), nor many, whoever's name it is."""
    if address[:12] == _NAT64:
        return is_granted(address[12:])
    if len(address) == 4:
        (number,) = struct.unpack(">I", address)
        return not (number >> 24 in (0, 127) or number >> 16 == 0xA9FE or number >> 28 >= 0xE)
    mapped = address[:12] == b"\0" * 10 + b"\xff\xff"
    loopback = address[:15] == b"\0" * 15
    link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
    return not (mapped or loopback or link_local or address[0] == 0xFF or address == _METADATA)
