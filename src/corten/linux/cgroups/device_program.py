"""cgroup v2's device controller: an eBPF program made from a device policy, attached to the cgroup.

The program sees struct bpf_cgroup_dev_ctx {u32 access_type; u32 major; u32 minor}, access_type being
(access << 16) | type, and returns 1 to allow. It is straight-line code: for each exception, compare and
return; at the end return the default. Sources: linux/bpf.h, Documentation/bpf/standardization.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from corten.linux.cgroups.device_policy import MKNOD, READ, WRITE
from corten.linux.syscalls import NR_BPF, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.linux.cgroups.device_policy import DevicePolicy

# Instruction codes: class | source or size | operation.
_LOAD_WORD = 0x61  # dst = *(u32 *)(src + offset)
_AND = 0x57  # dst &= imm
_SHIFT_RIGHT = 0x77  # dst >>= imm
_MOVE = 0xBF  # dst = src
_MOVE_IMM = 0xB7
_JUMP_EQ = 0x15  # if dst == imm skip offset instructions
_JUMP_NE = 0x55
_EXIT = 0x95
_RESULT, _CONTEXT, _TYPE, _ACCESS, _MAJOR, _MINOR, _SCRATCH = 0, 1, 2, 3, 4, 5, 6

_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
_ALL_ACCESS = MKNOD | READ | WRITE

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_PROG_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI, _REPLACE = 2, 4
_MAX_PROGRAMS = 64


def assemble(policy: DevicePolicy) -> bytes:
    """The program, 8 bytes an instruction (struct bpf_insn)."""
    code = [
        _instruction(_LOAD_WORD, _TYPE, _CONTEXT, 0),
        _instruction(_MOVE, _ACCESS, _TYPE),
        _instruction(_AND, _TYPE, immediate=0xFFFF),
        _instruction(_SHIFT_RIGHT, _ACCESS, immediate=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8),
    ]
    for (kind, major, minor), bits in policy.exceptions.items():
        code += _exception(_TYPES[kind], major, minor, bits, allow=not policy.default_allow)
    code += _verdict(allow=policy.default_allow)
    return b"".join(code)


def _exception(kind: int, major: int | None, minor: int | None, bits: int, *, allow: bool) -> list[bytes]:
    """An allowing exception covers requests within its access, a denying one all that touch it."""
    tests: list[tuple[int, int, int]] = [(_JUMP_NE, _TYPE, kind)]
    if major is not None:
        tests.append((_JUMP_NE, _MAJOR, major))
    if minor is not None:
        tests.append((_JUMP_NE, _MINOR, minor))
    prepare = []
    if bits != _ALL_ACCESS:
        prepare.append(_instruction(_MOVE, _SCRATCH, _ACCESS))
        prepare.append(_instruction(_AND, _SCRATCH, immediate=_ALL_ACCESS & ~bits if allow else bits))
        tests.append((_JUMP_NE if allow else _JUMP_EQ, _SCRATCH, 0))
    verdict = _verdict(allow=allow)
    length = len(prepare) + len(tests) + len(verdict)
    code = prepare
    for test, register, value in tests:
        code.append(_instruction(test, register, offset=length - len(code) - 1, immediate=value))
    return code + verdict


def _verdict(*, allow: bool) -> list[bytes]:
    return [_instruction(_MOVE_IMM, _RESULT, immediate=int(allow)), _instruction(_EXIT)]


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, immediate)


def load(program: bytes) -> int:
    """BPF_PROG_LOAD; the caller owns the fd. Raises OSError (EACCES with the verifier's words)."""
    code, license_ = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "<IIQQ",
        _PROG_TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license_),
    )
    return _bpf(_PROG_LOAD, attributes.ljust(128, b"\0"), "bpf PROG_LOAD")


def attach(cgroup: int, program: int) -> None:
    """Make `program` (fd) the one that guards devices in `cgroup` (directory fd), with no gap.

    A single program is replaced in place; of several the new one is added first, the others go after,
    so that at no time less is forbidden than before or after. Raises OSError.
    """
    attached = _query(cgroup)
    if len(attached) == 1:
        old = _bpf(_PROG_GET_FD_BY_ID, struct.pack("<III", attached[0], 0, 0), "bpf PROG_GET_FD_BY_ID")
        try:
            return _attach(cgroup, program, _ALLOW_MULTI | _REPLACE, old)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # kernel before 5.5, or attached otherwise
                raise
        finally:
            os.close(old)
    _attach(cgroup, program, _ALLOW_MULTI, 0)
    for identity in attached:
        _detach(cgroup, identity)
    return None


def _attach(cgroup: int, program: int, flags: int, replaced: int) -> None:
    _bpf(
        _PROG_ATTACH,
        struct.pack("<IIIII", cgroup, program, _ATTACH_CGROUP_DEVICE, flags, replaced),
        "bpf PROG_ATTACH",
    )


def _detach(cgroup: int, identity: int) -> None:
    handle = _bpf(_PROG_GET_FD_BY_ID, struct.pack("<III", identity, 0, 0), "bpf PROG_GET_FD_BY_ID")
    try:
        _bpf(_PROG_DETACH, struct.pack("<IIII", cgroup, handle, _ATTACH_CGROUP_DEVICE, 0), "bpf PROG_DETACH")
    finally:
        os.close(handle)


def _query(cgroup: int) -> list[int]:
    """Ids of the programs attached to `cgroup` itself."""
    identities = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "<IIIIQI", cgroup, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(identities), _MAX_PROGRAMS
        ),
        64,
    )
    syscall(NR_BPF, _PROG_QUERY, attributes, ctypes.c_ulong(len(attributes)), what="bpf PROG_QUERY")
    (count,) = struct.unpack_from("<I", attributes, 24)
    return list(identities[:count])


def _bpf(command: int, attributes: bytes, what: str) -> int:
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 64))
    return syscall(NR_BPF, command, buffer, ctypes.c_ulong(len(buffer)), what=what)
