"""Laying a tree out as EROFS metadata whose files point into other files.

::

    0      1024         2048                       (blocks of 512 bytes)
    │ zeros │ superblock │ inodes, 32 bytes a slot  │ directories, link targets │
            └ device table at 1152                    names sorted, block by block

Regular files are chunk-based with one chunk: a block number on a device, 1 the tar, 2 the sparse contents.
Source: fs/erofs/erofs_fs.h; Documentation/filesystems/erofs.rst.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from corten.snapshots.erofs.tree import Node
from corten.snapshots.errors import TooLarge

BLOCK = 512
TAR_DEVICE = 1
SPARSE_DEVICE = 2
MAX_BLOCKS = (1 << 32) - 2  # block numbers have 32 bits, of which all ones is a hole

_BLOCK_BITS = 9
_MAGIC = 0xE0F5E1E2
_SUPER_AT = 1024
_DEVICES_AT = 1152
_DEVICE_SLOT = 128
_INODES_BLOCK = 4
_SLOT = 32
_INODE_SIZE = 64
_XATTR_HEADER = 12
_MAX_XATTR_UNITS = 65535

_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQ")
_DEVICE = struct.Struct("<64sII")
_INODE = struct.Struct("<HHHHQIIIIqII16x")
_CHUNK = struct.Struct("<HHI")
_DIRENT = struct.Struct("<QHBB")
_XATTR = struct.Struct("<BBH")

_EXTENDED = 1  # the 64-byte inode
_PLAIN, _CHUNKED = 0 << 1, 4 << 1
# Chunks of 2**(9 + 31) bytes: 1 TiB, so that one is enough; and each is named by an 8-byte index.
_CHUNK_BITS = 31
_CHUNK_INDEXES = 0x20
_INCOMPAT_CHUNKED = 0x4
_INCOMPAT_DEVICES = 0x8
MAX_FILE = 1 << (_BLOCK_BITS + _CHUNK_BITS)

_FILE_TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFLNK: 7,
}
_XATTR_PREFIXES = (
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
)


class Layout:
    """The index of one tree. `sparse`: the files whose content goes to the second device, in their order."""

    def __init__(self, root: Node) -> None:
        """Give every file its place. Raises OSError, TooLarge for what EROFS cannot express."""
        self._root = root
        self._order: list[Node] = []
        self._parents: list[Node] = []
        self._links: list[int] = []
        self._xattrs: list[bytes] = []
        self.sparse: list[Node] = []
        self._slots = 0
        self._place()

    def _place(self) -> None:
        """Number the inodes, the root first: its number has 16 bits only."""
        waiting = [(self._root, self._root)]
        while waiting:
            node, parent = waiting.pop()
            if node.place >= 0:
                self._links[node.place] += 1
                continue
            node.place = len(self._order)
            self._order.append(node)
            self._parents.append(parent)
            self._links.append(1)
            self._xattrs.append(_packed_xattrs(node.xattrs) if node.xattrs else b"")
            if node.children is not None:
                waiting.extend((child, node) for child in node.children.values())
            elif node.sparse is not None and node.size:
                self.sparse.append(node)
            if node.size > MAX_FILE:
                raise TooLarge("archive holds a file of more than 1 TiB")
        self._numbers = [0] * len(self._order)
        for place, node in enumerate(self._order):
            self._numbers[place] = self._slots
            self._slots += -(-self._inode_length(place, node) // _SLOT)

    def _inode_length(self, place: int, node: Node) -> int:
        length = _INODE_SIZE + len(self._xattrs[place])
        return _aligned(length, 8) + _CHUNK.size if _is_chunked(node) else length

    def pack(self, tar_blocks: int, sparse_offsets: list[int]) -> bytes:
        """The index. sparse_offsets: where on the second device each file of `sparse` begins, and its end."""
        inodes = bytearray(_aligned(self._slots * _SLOT, BLOCK))
        blocks = _INODES_BLOCK + len(inodes) // BLOCK
        data: list[bytes] = []
        offsets = {id(node): offset for node, offset in zip(self.sparse, sparse_offsets, strict=False)}
        for place, node in enumerate(self._order):
            content = self._content(place, node)
            self._pack_inode(inodes, place, node, blocks, len(content), offsets.get(id(node)))
            if content:
                data.append(content.ljust(_aligned(len(content), BLOCK), b"\0"))
                blocks += len(data[-1]) // BLOCK
        devices = [tar_blocks]
        if self.sparse:
            devices.append(sparse_offsets[-1] // BLOCK)
        return b"".join((self._super(blocks, devices), inodes, *data))

    def _content(self, place: int, node: Node) -> bytes:
        if node.children is not None:
            return self._directory(place, node)
        return node.target

    def _directory(self, place: int, node: Node) -> bytes:
        """Dirents in order of their names, as many to a block as fit with the names behind them."""
        assert node.children is not None
        entries = [(name, child) for name, child in node.children.items()]
        entries += [(b".", node), (b"..", self._parents[place])]
        entries.sort(key=lambda entry: entry[0])
        blocks, at = [], 0
        while at < len(entries):
            room, end = BLOCK, at
            while end < len(entries):
                room -= _DIRENT.size + len(entries[end][0])
                if room < 0:
                    break
                end += 1
            offset = _DIRENT.size * (end - at)
            dirents, names = [], []
            for name, child in entries[at:end]:
                kind = _FILE_TYPES[stat.S_IFMT(child.mode)]
                dirents.append(_DIRENT.pack(self._numbers[child.place], offset, kind, 0))
                names.append(name)
                offset += len(name)
            blocks.append(b"".join((*dirents, *names)))
            at = end
        return b"".join(block.ljust(BLOCK, b"\0") for block in blocks[:-1]) + blocks[-1]

    def _pack_inode(
        self, inodes: bytearray, place: int, node: Node, block: int, length: int, sparse_at: int | None
    ) -> None:
        attributes = self._xattrs[place]
        at = self._numbers[place] * _SLOT
        if node.children is not None or node.target:
            layout, where, size = _PLAIN, block, length
        elif _is_chunked(node):
            layout, where, size = _CHUNKED, _CHUNK_INDEXES | _CHUNK_BITS, node.size
        else:
            layout, where, size = _PLAIN, _device_number(node.rdev), 0
        links = self._links[place]
        if node.children is not None:
            links = 2 + sum(child.children is not None for child in node.children.values())
        _INODE.pack_into(
            inodes, at, _EXTENDED | layout, _xattr_units(attributes), node.mode, 0, size, where, place + 1,
            node.uid, node.gid, node.mtime_ns // 10**9, node.mtime_ns % 10**9, links,
        )  # fmt: skip
        at += _INODE_SIZE
        inodes[at : at + len(attributes)] = attributes
        if layout == _CHUNKED:
            at += len(attributes)
            device, offset = (TAR_DEVICE, node.offset) if sparse_at is None else (SPARSE_DEVICE, sparse_at)
            _CHUNK.pack_into(inodes, _aligned(at, 8), 0, device, offset // BLOCK)

    def _super(self, blocks: int, devices: list[int]) -> bytes:
        packed = bytearray(BLOCK * _INODES_BLOCK)
        _SUPER.pack_into(
            packed, _SUPER_AT, _MAGIC, 0, 0, _BLOCK_BITS, 0, 0, len(self._order), 0, 0, blocks,
            _INODES_BLOCK, 0, os.urandom(16), b"", _INCOMPAT_CHUNKED | _INCOMPAT_DEVICES, 0, len(devices),
            _DEVICES_AT // _DEVICE_SLOT, 0, 0, 0, 0,
        )  # fmt: skip
        for number, length in enumerate(devices):
            if length > MAX_BLOCKS:
                raise TooLarge("archive is too large for an index")
            _DEVICE.pack_into(packed, _DEVICES_AT + number * _DEVICE_SLOT, b"", length, 0)
        return bytes(packed)


def _is_chunked(node: Node) -> bool:
    return stat.S_ISREG(node.mode) and node.size > 0


def _device_number(device: int) -> int:
    """As the kernel's new_encode_dev."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def _packed_xattrs(attributes: dict[bytes, bytes]) -> bytes:
    parts = [bytes(_XATTR_HEADER)]
    for name, value in sorted(attributes.items()):
        for prefix, number in _XATTR_PREFIXES:
            if name.startswith(prefix):
                rest = name[len(prefix) :]
                entry = _XATTR.pack(len(rest), number, len(value)) + rest + value
                parts.append(entry.ljust(_aligned(len(entry), 4), b"\0"))
                break
    packed = b"".join(parts)
    if _xattr_units(packed) > _MAX_XATTR_UNITS:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return packed


def _xattr_units(packed: bytes) -> int:
    return (len(packed) - _XATTR_HEADER) // 4 + 1 if packed else 0


def _aligned(length: int, to: int) -> int:
    return -(-length // to) * to
