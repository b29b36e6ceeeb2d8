"""Elements of nf_tables sets and maps, added and deleted without libnftables (10 us, not 670).

Source: include/uapi/linux/netfilter/nf_tables.h. Keys and values are what the kernel's registers
hold: fields in network byte order, each padded to 4 bytes (`concatenate`).
"""

from __future__ import annotations

from corten.linux.netlink import codec, nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from corten.linux.netlink.socket import NetlinkSocket

_NFT_MSG_NEWSETELEM = 12
_NFT_MSG_DELSETELEM = 14
_NFTA_SET_ELEM_LIST_TABLE = 1
_NFTA_SET_ELEM_LIST_SET = 2
_NFTA_SET_ELEM_LIST_ELEMENTS = 3
_NFTA_LIST_ELEM = 1
_NFTA_SET_ELEM_KEY = 1
_NFTA_SET_ELEM_DATA = 2
_NFTA_SET_ELEM_TIMEOUT = 4
_NFTA_DATA_VALUE = 1


def concatenate(*fields: bytes) -> bytes:
    """A concatenated key or value: every field padded to whole registers of 4 bytes."""
    return b"".join(field + bytes(-len(field) & 3) for field in fields)


def add_element(
    family: int,
    table: str,
    name: str,
    key: bytes,
    value: bytes = b"",
    *,
    timeout_ms: int = 0,
    exclusive: bool = True,
) -> bytes:
    """The message that adds `key` to a set, or `key: value` to a map.

    exclusive: EEXIST if it is there already. timeout_ms: it goes by itself; 0: it does not.
    """
    element = codec.nested(_NFTA_SET_ELEM_KEY, codec.attribute(_NFTA_DATA_VALUE, key))
    if value:
        element += codec.nested(_NFTA_SET_ELEM_DATA, codec.attribute(_NFTA_DATA_VALUE, value))
    if timeout_ms:
        element += codec.attribute(_NFTA_SET_ELEM_TIMEOUT, timeout_ms.to_bytes(8, "big"))
    flags = codec.NLM_F_CREATE | (codec.NLM_F_EXCL if exclusive else 0)
    return _message(_NFT_MSG_NEWSETELEM, flags, family, table, name, element)


def delete_element(family: int, table: str, name: str, key: bytes) -> bytes:
    """The message that deletes `key` from a set or map. ENOENT if it is not there."""
    element = codec.nested(_NFTA_SET_ELEM_KEY, codec.attribute(_NFTA_DATA_VALUE, key))
    return _message(_NFT_MSG_DELSETELEM, 0, family, table, name, element)


def commit(sock: NetlinkSocket, messages: Sequence[bytes], tolerate: Container[int | None] = ()) -> None:
    """Apply the changes in one transaction. errno values in `tolerate` (ENOENT, EEXIST) only skip the
    change that met them. Raises OSError; then nothing is changed.
    """
    try:
        nfnetlink.commit(sock, messages)
    except OSError as error:
        if error.errno not in tolerate:
            raise
        if len(messages) > 1:
            for message in messages:
                commit(sock, [message], tolerate)


def _message(kind: int, flags: int, family: int, table: str, name: str, element: bytes) -> bytes:
    return nfnetlink.message(
        nfnetlink.SUBSYSTEM_NFTABLES,
        kind,
        flags,
        family,
        codec.text(_NFTA_SET_ELEM_LIST_TABLE, table)
        + codec.text(_NFTA_SET_ELEM_LIST_SET, name)
        + codec.nested(_NFTA_SET_ELEM_LIST_ELEMENTS, codec.nested(_NFTA_LIST_ELEM, element)),
    )
