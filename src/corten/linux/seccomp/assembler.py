"""Classic BPF, assembled from the end towards the beginning.

BPF jumps only go forward, so a program written backwards knows every jump's target before the jump.
A *label* is the index of an instruction in that reversed order: control falls from a label to the one
below it. Conditional jumps reach 255 instructions; where that is too short a JA is put in between.

An instruction is held as the 64-bit little-endian word that struct sock_filter is:
code (16 bits), jump if true (8), jump if false (8), k (32). Source: linux/filter.h, bpf_common.h.
"""

from __future__ import annotations

import struct

from corten.errors import InvalidParameter

_LOAD = 0x20  # A = word at offset k of struct seccomp_data
_AND = 0x54  # A &= k
_RETURN = 0x06
_JUMP = 0x05
JEQ = 0x15
JGT = 0x25
JGE = 0x35

_REACH = 255
MAX_INSTRUCTIONS = 4096


class Assembler:
    """A program being written backwards; every method returns the label of what it wrote."""

    __slots__ = ("_returns", "_words")

    def __init__(self) -> None:
        self._words: list[int] = []
        self._returns: dict[int, int] = {}

    def bytes(self) -> bytes:
        """The program in order, ready for seccomp(2). Raises InvalidParameter if it is too long for that."""
        if len(self._words) > MAX_INSTRUCTIONS:
            raise InvalidParameter(
                f"seccomp filter of {len(self._words)} instructions, at most 4096 are possible"
            )
        self._words.reverse()
        return struct.pack(f"<{len(self._words)}Q", *self._words)

    def ret(self, value: int) -> int:
        """End with this SECCOMP_RET_ value; one written shortly before is used again."""
        label = self._returns.get(value)
        if label is None or len(self._words) - label > _REACH // 2:
            label = self._returns[value] = self._put(_RETURN | value << 32)
        return label

    def load(self, offset: int, then: int) -> int:
        """A = 32-bit word at `offset` of struct seccomp_data; go on at `then`."""
        self._fall_to(then)
        return self._put(_LOAD | offset << 32)

    def mask(self, bits: int, then: int) -> int:
        """A &= bits; go on at `then`."""
        self._fall_to(then)
        return self._put(_AND | bits << 32)

    def branch(self, test: int, k: int, true: int, false: int) -> int:
        """Compare A with `k` by `test` (JEQ, JGT, JGE: unsigned) and go to `true` or `false`."""
        if true == false:
            return true
        if len(self._words) - true > _REACH:  # -1 for the jump itself, +1 for the other side's JA
            true = self._jump(true)
        if len(self._words) - false > _REACH:
            false = self._jump(false)
        here = len(self._words)
        return self._put(test | here - true - 1 << 16 | here - false - 1 << 24 | k << 32)

    def _jump(self, label: int) -> int:
        return self._put(_JUMP | len(self._words) - label - 1 << 32)

    def _fall_to(self, label: int) -> None:
        if label != len(self._words) - 1:
            self._jump(label)

    def _put(self, word: int) -> int:
        self._words.append(word)
        return len(self._words) - 1
