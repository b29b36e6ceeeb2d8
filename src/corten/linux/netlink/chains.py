"""The base chains that other programs have hung into nf_tables.

For finding a way through them; what we own ourselves is never read back.
Source: include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

from corten.linux.netlink import codec, nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.linux.netlink.socket import NetlinkSocket

HOOK_FORWARD = 2  # NF_INET_FORWARD
POLICY_DROP = 0  # NF_DROP

_NFT_MSG_GETCHAIN = 4
_NFTA_CHAIN_TABLE = 1
_NFTA_CHAIN_NAME = 3
_NFTA_CHAIN_HOOK = 4
_NFTA_CHAIN_POLICY = 5
_NFTA_HOOK_HOOKNUM = 1


class BaseChain:
    """A chain that the kernel calls. `family`: NFPROTO_...; `policy`: verdict at its end."""

    __slots__ = ("family", "hook", "name", "policy", "table")

    def __init__(self, family: int, found: dict[int, bytes]) -> None:
        hook = codec.attributes(found[_NFTA_CHAIN_HOOK])
        self.family = family
        self.table = codec.read_text(found[_NFTA_CHAIN_TABLE])
        self.name = codec.read_text(found[_NFTA_CHAIN_NAME])
        self.hook = int.from_bytes(hook.get(_NFTA_HOOK_HOOKNUM, b""), "big")
        self.policy = int.from_bytes(found.get(_NFTA_CHAIN_POLICY, b""), "big")


def base_chains(sock: NetlinkSocket) -> list[BaseChain]:
    """All base chains of the namespace. `sock`: a NETLINK_NETFILTER socket. Raises OSError."""
    chains = []
    request = nfnetlink.SUBSYSTEM_NFTABLES << 8 | _NFT_MSG_GETCHAIN
    for answer in sock.dump(request, bytes(nfnetlink.HEADER_SIZE)):
        found = codec.attributes(answer.payload, nfnetlink.HEADER_SIZE)
        if _NFTA_CHAIN_HOOK in found:
            chains.append(BaseChain(answer.payload[0], found))
    return chains
