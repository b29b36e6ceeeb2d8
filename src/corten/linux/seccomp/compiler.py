"""OCI `linux.seccomp` document -> classic BPF program, with runc's semantics.

The program tests the architecture, then finds the system call number by binary search over ranges of
equal verdict. Decisions where the specification leaves room, each as runc with libseccomp behaves:

- Foreign architecture: SECCOMP_RET_KILL_THREAD (libseccomp's bad architecture action). The same for x32
  calls when the document does not list SCMP_ARCH_X32. The native architecture is always listed.
- Numbers above the largest one that the document names get ENOSYS, not the default action, if that
  would be an error: programs must be able to fall back from calls newer than the profile. ARM's
  private numbers (0xf0000 up) don't count as largest, otherwise ARM would never see that ENOSYS.
- Names the architecture does not have are skipped; rules that repeat the default action too.
- Several rules for one call: one without arguments wins over those with, the first of its kind over
  later ones. Conditions of one rule must all hold, unless an argument is named twice: then any will do.
- On 32-bit architectures (x32 included) arguments are 32 bits wide. Constants wider than that never
  equal them; libseccomp would cut the constant instead.
- i386's socketcall(2) and ipc(2) follow the calls they stand for. Arguments behind them are pointers
  that no filter can follow: a rule with conditions reaches through only if it forbids.
- SCMP_ACT_NOTIFY is refused: nobody would listen.
"""

from __future__ import annotations

import os

from corten.errors import InvalidParameter, NotSupported
from corten.linux.seccomp import install, tables
from corten.linux.seccomp.assembler import JEQ, JGE, JGT, Assembler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Condition = tuple[str, int, int, int]  # operator, argument index, value, valueTwo
    Rule = tuple[int, tuple[Condition, ...]]  # verdict; no conditions = always
    Verdict = int | tuple[int, tuple[Rule, ...]]  # always the same, or rules on arguments of a width
    Ranges = list[tuple[int, Verdict]]  # (first number, verdict up to the next range's first)

KILL_THREAD = 0
_ERRNO = 0x0005_0000
_TRACE = 0x7FF0_0000
_ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": 0x8000_0000,
    "SCMP_ACT_TRAP": 0x0003_0000,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRACE": _TRACE,
    "SCMP_ACT_LOG": 0x7FFC_0000,
    "SCMP_ACT_ALLOW": 0x7FFF_0000,
}
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
_EPERM = 1
_ENOSYS = 38

_NEGATED = {"SCMP_CMP_NE": "SCMP_CMP_EQ", "SCMP_CMP_LT": "SCMP_CMP_GE", "SCMP_CMP_LE": "SCMP_CMP_GT"}

_DECIDING_TEST = {"SCMP_CMP_EQ": JEQ, "SCMP_CMP_GE": JGE, "SCMP_CMP_GT": JGT, "SCMP_CMP_MASKED_EQ": JEQ}

_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": install.FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": install.FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": install.FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": install.FLAG_WAIT_KILLABLE_RECV,
}

# Architecture: AUDIT_ARCH_ value (linux/audit.h), column of the table, width of an argument.
_AUDIT_X86_64 = 0xC000_003E
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": (_AUDIT_X86_64, "x86_64", 64),
    "SCMP_ARCH_X32": (_AUDIT_X86_64, "x32", 32),
    "SCMP_ARCH_X86": (0x4000_0003, "i386", 32),
    "SCMP_ARCH_AARCH64": (0xC000_00B7, "arm64", 64),
    "SCMP_ARCH_ARM": (0x4000_0028, "arm", 32),
}
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
# Real ones that neither of our machines can ever run: the kill for foreign architectures covers them.
_ELSEWHERE = (
    "SCMP_ARCH_MIPS SCMP_ARCH_MIPS64 SCMP_ARCH_MIPS64N32 SCMP_ARCH_MIPSEL SCMP_ARCH_MIPSEL64 "
    "SCMP_ARCH_MIPSEL64N32 SCMP_ARCH_PPC SCMP_ARCH_PPC64 SCMP_ARCH_PPC64LE SCMP_ARCH_S390 SCMP_ARCH_S390X "
    "SCMP_ARCH_PARISC SCMP_ARCH_PARISC64 SCMP_ARCH_RISCV64 SCMP_ARCH_LOONGARCH64 SCMP_ARCH_M68K SCMP_ARCH_SH "
    "SCMP_ARCH_SHEB"
)
_X32_BIT = 1 << 30
_ARM_PRIVATE = 0xF0000
_NUMBERS_END = 1 << 32

# struct seccomp_data: nr, arch, instruction_pointer (64), args[6] (64 each, low word first)
_NR, _ARCH, _ARGS = 0, 4, 16


def compile_filter(document: Mapping[str, Any], machine: str | None = None) -> bytes:
    """Program for an OCI `linux.seccomp` document on `machine` (uname -m; default: this one).

    Raises InvalidParameter for unknown actions, operators, architectures, argument numbers and if it takes
    more than 4096 instructions; NotSupported for SCMP_ACT_NOTIFY.
    """
    default = _verdict(document.get("defaultAction", ""), document.get("defaultErrnoRet"))
    unknown = default
    if document["defaultAction"] not in _PERMISSIVE:
        unknown = _ERRNO | _ENOSYS
    rules = [(names, rule) for entry in document.get("syscalls") or () for names, rule in _parse_rule(entry)]
    program = Assembler()
    entries: dict[int, int] = {}
    for audit, architectures in _listed(document, machine or os.uname().machine).items():
        ranges = _ranges_of(audit, architectures, rules, default, unknown)
        entries[audit] = program.load(_NR, _search(program, ranges, 0, len(ranges), default))
    label = program.ret(KILL_THREAD)
    for audit, entry in entries.items():
        label = program.branch(JEQ, audit, entry, label)
    program.load(_ARCH, label)
    return program.bytes()


def flags_of(document: Mapping[str, Any]) -> int:
    """seccomp(2) flags for an OCI document; without any, SPEC_ALLOW, as runc. Raises InvalidParameter."""
    names = document.get("flags")
    if names is None:
        return install.FLAG_SPEC_ALLOW
    flags = 0
    for name in names:
        if name not in _FLAGS:
            raise InvalidParameter(f"unknown seccomp flag: {name}")
        flags |= _FLAGS[name]
    return flags


def _listed(document: Mapping[str, Any], machine: str) -> dict[int, list[str]]:
    """AUDIT_ARCH_ value -> architectures that share it; the native one comes last, to be tested first."""
    names = list(document.get("architectures") or ())
    listed: dict[int, list[str]] = {}
    for name in [*names, NATIVE[machine]]:
        if name in ARCHITECTURES:
            group = listed.setdefault(ARCHITECTURES[name][0], [])
            if name not in group:
                group.append(name)
        elif name not in _ELSEWHERE.split():
            raise InvalidParameter(f"unknown seccomp architecture: {name}")
    native = ARCHITECTURES[NATIVE[machine]][0]
    listed[native] = listed.pop(native)
    return listed


def _verdict(action: str, errno: int | None) -> int:
    if action == "SCMP_ACT_NOTIFY":
        raise NotSupported("seccomp action SCMP_ACT_NOTIFY is not supported")
    value = _ACTIONS.get(action)
    if value is None:
        raise InvalidParameter(f"unknown seccomp action: {action}")
    if value in (_ERRNO, _TRACE):
        value |= (_EPERM if errno is None else errno) & 0xFFFF
    return value


def _parse_rule(entry: Mapping[str, Any]) -> list[tuple[list[str], Rule]]:
    """An OCI rule as one or, if it names an argument twice, several of ours."""
    names = list(entry.get("names") or ())
    verdict = _verdict(entry.get("action", ""), entry.get("errnoRet"))
    conditions = [_parse_condition(argument) for argument in entry.get("args") or ()]
    if len({condition[1] for condition in conditions}) < len(conditions):
        return [(names, (verdict, (condition,))) for condition in conditions]
    return [(names, (verdict, tuple(conditions)))]


def _parse_condition(argument: Mapping[str, Any]) -> Condition:
    operator, index = argument.get("op", ""), argument.get("index", 0)
    if operator not in _DECIDING_TEST and operator not in _NEGATED:
        raise InvalidParameter(f"unknown seccomp comparison operator: {operator}")
    if not 0 <= index <= 5:
        raise InvalidParameter(f"seccomp argument index {index} is not within 0 and 5")
    values = [argument.get(key) or 0 for key in ("value", "valueTwo")]
    if not all(0 <= value < 1 << 64 for value in values):
        raise InvalidParameter(f"seccomp argument values {values} are not 64-bit numbers")
    return operator, index, values[0], values[1]


def _ranges_of(
    audit: int, architectures: list[str], rules: list[tuple[list[str], Rule]], default: int, unknown: int
) -> Ranges:
    """Verdicts over all 2^32 numbers under one AUDIT_ARCH_ value."""
    if audit != _AUDIT_X86_64:
        return _ranges(architectures[0], rules, default, unknown, 0)
    ranges = _ranges("SCMP_ARCH_X86_64", rules, default, unknown, 0)
    if "SCMP_ARCH_X32" in architectures:
        return ranges + _ranges("SCMP_ARCH_X32", rules, default, unknown, _X32_BIT)
    # Bit 30 is what makes a number x32's; -1 is what a tracer leaves of a call it has skipped.
    return [
        *ranges,
        (_X32_BIT, KILL_THREAD),
        (_X32_BIT << 1, unknown),
        (_X32_BIT * 3, KILL_THREAD),
        (_NUMBERS_END - 1, default),
    ]


def _ranges(
    architecture: str, rules: list[tuple[list[str], Rule]], default: int, unknown: int, base: int
) -> Ranges:
    """Verdicts from number `base` up; neighbours of equal verdict are merged."""
    table, last = _table(architecture, rules, default)
    ranges: Ranges = []

    def put(start: int, verdict: Verdict) -> None:
        if not ranges or ranges[-1][1] != verdict:
            ranges.append((base + start, verdict))

    def gap(start: int, end: int) -> None:
        if start <= last:
            put(start, default)
        if end > last + 1:
            put(max(start, last + 1), unknown if last >= 0 else default)

    cursor = 0
    for number in sorted(table):
        if number > cursor:
            gap(cursor, number)
        put(number, table[number])
        cursor = number + 1
    gap(cursor, _NUMBERS_END)
    return ranges


def _table(
    architecture: str, rules: list[tuple[list[str], Rule]], default: int
) -> tuple[dict[int, Verdict], int]:
    """Number -> verdict where it is not the default, and the largest number that `rules` name (or -1)."""
    _, column, width = ARCHITECTURES[architecture]
    numbers = tables.numbers(column)
    table: dict[int, Verdict] = {}
    last = -1
    for names, rule in rules:
        for name in names:
            number = numbers.get(name)
            if number is not None:
                if last < number < _ARM_PRIVATE:
                    last = number
                _add(table, number, rule, default, width)
        if column == "i386":
            _add_multiplexed(table, numbers, names, rule, default)
    return table, last


def _add(table: dict[int, Verdict], number: int, rule: Rule, default: int, width: int) -> None:
    verdict, conditions = rule
    known = table.get(number)
    if verdict == default or isinstance(known, int):
        return
    if not conditions:
        table[number] = verdict
    else:
        table[number] = (width, (*known[1], rule) if known else (rule,))


def _add_multiplexed(
    table: dict[int, Verdict], numbers: dict[str, int], names: list[str], rule: Rule, default: int
) -> None:
    verdict, conditions = rule
    if conditions and _TRACE <= verdict <= _ACTIONS["SCMP_ACT_ALLOW"]:
        return
    for call, multiplexed in (("socketcall", tables.SOCKETCALL), ("ipc", tables.IPC)):
        for name in names:
            if name in multiplexed:
                which = ("SCMP_CMP_EQ", 0, multiplexed[name], 0)
                _add(table, numbers[call], (verdict, (which,)), default, 32)


def _search(program: Assembler, ranges: Ranges, low: int, high: int, default: int) -> int:
    """Code that finds A's verdict in ranges[low:high] by halving."""
    if high - low == 1:
        verdict = ranges[low][1]
        return program.ret(verdict) if isinstance(verdict, int) else _rules(program, verdict, default)
    middle = (low + high) // 2
    above = _search(program, ranges, middle, high, default)
    below = _search(program, ranges, low, middle, default)
    return program.branch(JGE, ranges[middle][0], above, below)


def _rules(program: Assembler, verdict: tuple[int, tuple[Rule, ...]], default: int) -> int:
    """Code that tries rules with conditions in order; the default action if none holds."""
    width, rules = verdict
    label = program.ret(default)
    for action, conditions in reversed(rules):
        otherwise = label
        label = program.ret(action)
        for condition in reversed(conditions):
            label = _compare(program, condition, width, label, otherwise)
    return label


def _compare(program: Assembler, condition: Condition, width: int, yes: int, no: int) -> int:
    """Code that goes to `yes` if the condition holds for the (64- or 32-bit) argument, else to `no`."""
    operator, index, value, two = condition
    if operator in _NEGATED:
        operator, yes, no = _NEGATED[operator], no, yes
    offset = _ARGS + 8 * index
    high, low = value >> 32, value & 0xFFFF_FFFF
    if operator == "SCMP_CMP_MASKED_EQ":
        two &= value
        label = program.branch(JEQ, two & 0xFFFF_FFFF, yes, no)
        label = program.load(offset, program.mask(low, label))
        if not high:
            return label
        if width == 32:
            return no if two >> 32 else label
        return program.load(offset + 4, program.mask(high, program.branch(JEQ, two >> 32, label, no)))
    test = _DECIDING_TEST[operator]
    label = program.load(offset, program.branch(test, low, yes, no))
    if width == 32:
        return no if high else label
    label = program.branch(JEQ, high, label, no)
    if test != JEQ:
        label = program.branch(JGT, high, yes, label)
    return program.load(offset + 4, label)
