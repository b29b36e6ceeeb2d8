"""Our compiler against libseccomp and against the rules read naively: both programs are interpreted."""

import ctypes
import ctypes.util
import os
import random
import struct

import pytest

from corten.errors import InvalidParameter, NotSupported
from corten.linux.capabilities import DOCKER_DEFAULT, NAMES
from corten.linux.seccomp import profile, tables
from corten.linux.seccomp.compiler import ARCHITECTURES, compile_filter, flags_of

ALLOW, KILL, ENOSYS, EPERM = 0x7FFF0000, 0, 0x50000 | 38, 0x50000 | 1
X32_BIT = 1 << 30
PLATFORMS = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}
BOUNDARIES = [1 << 16, 0xF0000, 0xF0001, 0xF0005, 0xF0006, (1 << 30) - 1, 1 << 31, 0xFFFFFFFE, 0xFFFFFFFF]
CAPABILITY_SETS = {
    "default": frozenset(DOCKER_DEFAULT),
    "none": frozenset(),
    "admin": frozenset([*DOCKER_DEFAULT, "CAP_SYS_ADMIN"]),
    "all": frozenset(NAMES),
}


def interpret(program, nr, audit, args=(0,) * 6):
    """What the kernel would return for one system call (the instructions seccomp(2) allows, that we use)."""
    data = struct.pack("<IIQ6Q", nr & 0xFFFFFFFF, audit, 0, *args)
    a, pc = 0, 0
    while True:
        code, jt, jf, k = struct.unpack_from("<HBBI", program, pc * 8)
        pc += 1
        if code == 0x20:
            (a,) = struct.unpack_from("<I", data, k)
        elif code == 0x15:
            pc += jt if a == k else jf
        elif code == 0x25:
            pc += jt if a > k else jf
        elif code == 0x35:
            pc += jt if a >= k else jf
        elif code == 0x05:
            pc += k
        elif code == 0x54:
            a &= k
        elif code == 0x06:
            return k
        else:
            raise AssertionError(f"instruction {code:#x}")


# --- libseccomp -----------------------------------------------------------------------------------


class Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


OPERATORS = {
    f"SCMP_CMP_{name}": n for n, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}
TOKENS = {name: audit for name, (audit, _, _) in ARCHITECTURES.items()} | {"SCMP_ARCH_X32": 0x4000003E}


class Libseccomp:
    def __init__(self):
        self.lib = lib = ctypes.CDLL(os.environ.get("CORTEN_LIBSECCOMP", "libseccomp.so.2"))
        lib.seccomp_init.restype = ctypes.c_void_p
        lib.seccomp_arch_add.argtypes = lib.seccomp_arch_remove.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.seccomp_rule_add_array.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(Comparison),
        ]
        lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
        lib.seccomp_release.argtypes = [ctypes.c_void_p]
        lib.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]

    def number(self, name, architecture=None):
        if architecture is None:
            return self.lib.seccomp_syscall_resolve_name(name.encode())
        return self.lib.seccomp_syscall_resolve_name_arch(TOKENS[architecture], name.encode())

    def compile(self, document):
        context = self.lib.seccomp_init(verdict(document["defaultAction"], document.get("defaultErrnoRet")))
        architectures = document["architectures"]
        for architecture in architectures:
            self.lib.seccomp_arch_add(context, TOKENS[architecture])
        if "SCMP_ARCH_X86_64" not in architectures:
            assert self.lib.seccomp_arch_remove(context, TOKENS["SCMP_ARCH_X86_64"]) == 0
        for rule in document["syscalls"]:
            conditions = [
                Comparison(arg["index"], OPERATORS[arg["op"]], arg["value"], arg.get("valueTwo", 0))
                for arg in rule.get("args", ())
            ]
            action = verdict(rule["action"], rule.get("errnoRet"))
            array = (Comparison * len(conditions))(*conditions)
            for name in rule["names"]:
                result = self.lib.seccomp_rule_add_array(
                    context, action, self.number(name), len(conditions), array
                )
                assert result == 0, (name, os.strerror(-result))
        with open(os.memfd_create("bpf"), "r+b") as file:
            assert self.lib.seccomp_export_bpf(context, file.fileno()) == 0
            self.lib.seccomp_release(context)
            file.seek(0)
            return file.read()


def verdict(action, errno):
    return ALLOW if action == "SCMP_ACT_ALLOW" else 0x50000 | (1 if errno is None else errno)


@pytest.fixture(scope="module")
def libseccomp():
    return Libseccomp()


def known_to(libseccomp, document):
    """The document without calls that this libseccomp does not know on all architectures alike."""
    rules = []
    for rule in document["syscalls"]:
        names = [
            name
            for name in rule["names"]
            if libseccomp.number(name) != -1
            and all(agree(libseccomp, name, a) for a in document["architectures"])
        ]
        if names:
            rules.append({**rule, "names": names})
    return {**document, "syscalls": rules}


def agree(libseccomp, name, architecture):
    number = libseccomp.number(name, architecture)
    multiplexed = -300 < number <= -100  # socketcall's and ipc's on i386
    return number >= 0 or multiplexed or name not in tables.numbers(ARCHITECTURES[architecture][1])


def last_number(libseccomp, document, architecture):
    """The bound of runc's ENOSYS rule (libcontainer/seccomp/patchbpf), private numbers of ARM aside."""
    numbers = [
        libseccomp.number(name, architecture) for rule in document["syscalls"] for name in rule["names"]
    ]
    return max(number for number in numbers if not 0xF0000 <= number < X32_BIT)


def interesting(value):
    around = {
        value - 1,
        value,
        value + 1,
        ~value,
        value | 1 << 32,
        value | 1 << 63,
        value << 32,
        0,
        1,
        2**64 - 1,
    }
    return sorted(number & (2**64 - 1) for number in around)


def argument_samples(document):
    """Argument lists around every constant that a rule compares with."""
    samples = {(0,) * 6}
    for rule in document["syscalls"]:
        for arg in rule.get("args", ()):
            for constant in (arg["value"], arg.get("valueTwo", 0), 1 << 31 | arg["value"]):
                for value in interesting(constant):
                    for rest in (0, 2**64 - 1):
                        sample = [rest] * 6
                        sample[arg["index"]] = value
                        samples.add(tuple(sample))
    return sorted(samples)


@pytest.mark.parametrize("machine", PLATFORMS)
@pytest.mark.parametrize("capabilities", CAPABILITY_SETS)
def test_dockers_profile_is_what_libseccomp_makes_of_it(libseccomp, machine, capabilities):
    document = known_to(
        libseccomp,
        profile.resolve(
            profile.default_template(), CAPABILITY_SETS[capabilities], machine=machine, kernel="6.18.0"
        ),
    )
    ours, theirs = compile_filter(document, machine), libseccomp.compile(document)
    filtered = {name for rule in document["syscalls"] if rule.get("args") for name in rule["names"]}
    samples = argument_samples(document)
    for architecture in document["architectures"]:
        audit, column, _ = ARCHITECTURES[architecture]
        base = X32_BIT if column == "x32" else 0
        last = last_number(libseccomp, document, architecture)
        on_arguments = {base + tables.numbers(column)[name] for name in filtered}
        for nr in [*range(base, base + 1001), *BOUNDARIES]:
            private = audit == 0x40000028 and 0xF0000 <= nr <= 0xF0005
            above = nr > (last if nr & X32_BIT or not base else last - base)
            if audit == 0xC000003E and bool(nr & X32_BIT) != bool(base):
                continue  # judged under the other of the two architectures
            for args in samples if nr in on_arguments else samples[:1]:
                expected = interpret(theirs, nr, audit, args)
                if above and not (private and expected != EPERM):
                    expected = ENOSYS
                assert interpret(ours, nr, audit, args) == expected, (architecture, nr, args)


def test_foreign_architectures_are_killed_as_by_libseccomp(libseccomp):
    document = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"]}
    document["syscalls"] = [{"names": ["read", "mmap"], "action": "SCMP_ACT_ALLOW"}]
    ours, theirs = compile_filter(document, "x86_64"), libseccomp.compile(document)
    for audit in (0x40000003, 0xC00000B7, 0, 0xFFFFFFFF):
        assert interpret(ours, 0, audit) == interpret(theirs, 0, audit) == KILL
    for nr in (X32_BIT, X32_BIT | 9, X32_BIT - 1 | X32_BIT, 0xFFFFFFFE, 0xFFFFFFFF):
        assert interpret(ours, nr, 0xC000003E) == interpret(theirs, nr, 0xC000003E)


def random_rules(rng, names, values, *, most):
    for number, name in enumerate(names):
        for _ in range(rng.randint(1, most)):
            args = [
                {
                    "index": index,
                    "op": rng.choice(list(OPERATORS)),
                    "value": rng.choice(values),
                    "valueTwo": rng.choice(values),
                }
                for index in rng.sample(range(6), rng.randint(0, 3))
            ]
            yield {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 100 + number, "args": args}


CALLS = ["read", "openat", "kill", "prctl", "fchown", "mmap"]
NARROW = [0, 1, 5, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
WIDE = [*NARROW, 1 << 32, 0x1_0000_0005, 0xFFFFFFFF_FFFFFFFF, 0x80000000_00000000]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("architectures", [["SCMP_ARCH_X86_64"], PLATFORMS["x86_64"]])
def test_random_conditions_are_what_libseccomp_makes_of_them(libseccomp, seed, architectures):
    """One rule a call: libseccomp itself loses some of several that overlap (see the naive test below)."""
    rng = random.Random(seed)
    values = WIDE if len(architectures) == 1 else NARROW
    rules = list(random_rules(rng, CALLS, values, most=1))
    document = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules}
    ours, theirs = compile_filter(document, "x86_64"), libseccomp.compile(document)
    for architecture in architectures:
        audit, column, _ = ARCHITECTURES[architecture]
        for name in CALLS:
            nr = tables.numbers(column)[name] + (X32_BIT if column == "x32" else 0)
            for _ in range(100):
                args = [rng.choice(interesting(rng.choice(values))) for _ in range(6)]
                assert interpret(ours, nr, audit, args) == interpret(theirs, nr, audit, args), (name, args)


# --- the rules, read naively ----------------------------------------------------------------------

COMPARE = {
    "SCMP_CMP_NE": lambda a, v, _: a != v,
    "SCMP_CMP_LT": lambda a, v, _: a < v,
    "SCMP_CMP_LE": lambda a, v, _: a <= v,
    "SCMP_CMP_EQ": lambda a, v, _: a == v,
    "SCMP_CMP_GE": lambda a, v, _: a >= v,
    "SCMP_CMP_GT": lambda a, v, _: a > v,
    "SCMP_CMP_MASKED_EQ": lambda a, v, two: a & v == two & v,
}


def naive(document, name, args):
    rules = [rule for rule in document["syscalls"] if name in rule["names"]]
    rules.sort(key=lambda rule: bool(rule.get("args")))
    for rule in rules:
        conditions = rule.get("args") or ()
        if all(COMPARE[c["op"]](args[c["index"]], c["value"], c.get("valueTwo", 0)) for c in conditions):
            return verdict(rule["action"], rule.get("errnoRet"))
    return verdict(document["defaultAction"], document.get("defaultErrnoRet"))


@pytest.mark.parametrize("capabilities", CAPABILITY_SETS)
def test_the_whole_profile_reads_as_written(capabilities):
    """Calls that libseccomp is too old for included."""
    document = profile.resolve(
        profile.default_template(), CAPABILITY_SETS[capabilities], machine="x86_64", kernel="6.18.0"
    )
    program = compile_filter(document, "x86_64")
    samples = argument_samples(document)
    names = {name for rule in document["syscalls"] for name in rule["names"]}
    for column, audit in (("x86_64", 0xC000003E), ("i386", 0x40000003)):
        numbers = tables.numbers(column)
        last = max(numbers[name] for name in names if name in numbers)
        for name, nr in numbers.items():
            for args in samples if name in ("socket", "personality", "clone") else samples[:1]:
                if column == "i386":
                    args = [value & 0xFFFFFFFF for value in args]
                expected = ENOSYS if nr > last else naive(document, name, args)
                assert interpret(program, nr, audit, args) == expected, (name, args)


@pytest.mark.parametrize("seed", range(40))
def test_several_random_rules_read_as_written(seed):
    rng = random.Random(seed)
    rules = list(random_rules(rng, CALLS, WIDE, most=4))
    document = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": PLATFORMS["x86_64"], "syscalls": rules}
    program = compile_filter(document, "x86_64")
    for column, audit, base in (
        ("x86_64", 0xC000003E, 0),
        ("x32", 0xC000003E, X32_BIT),
        ("i386", 0x40000003, 0),
    ):
        for name in CALLS:
            nr = tables.numbers(column)[name] + base
            for _ in range(100):
                args = [rng.choice(interesting(rng.choice(WIDE))) for _ in range(6)]
                seen = args if column == "x86_64" else [value & 0xFFFFFFFF for value in args]
                assert interpret(program, nr, audit, args) == naive(document, name, seen), (name, args)


def only(**rule):
    names = rule.pop("names", ["read"])
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW", **rule}],
    }


@pytest.mark.parametrize(
    ("action", "errno", "value"),
    [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x80000000),
        ("SCMP_ACT_TRAP", None, 0x30000),
        ("SCMP_ACT_ERRNO", None, 0x50001),
        ("SCMP_ACT_ERRNO", 0, 0x50000),
        ("SCMP_ACT_ERRNO", 38, 0x50026),
        ("SCMP_ACT_TRACE", 7, 0x7FF00007),
        ("SCMP_ACT_LOG", None, 0x7FFC0000),
        ("SCMP_ACT_ALLOW", None, 0x7FFF0000),
    ],
)
def test_every_action(action, errno, value):
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getpid"], "action": action, "errnoRet": errno}],
    }
    assert interpret(compile_filter(document, "x86_64"), 39, 0xC000003E) == value


def test_wide_constants_never_equal_narrow_arguments():
    argument = {"index": 0, "value": 1 << 32 | 5, "op": "SCMP_CMP_EQ"}
    document = {**only(args=[argument]), "architectures": PLATFORMS["x86_64"]}
    program = compile_filter(document, "x86_64")
    assert interpret(program, 0, 0xC000003E, (1 << 32 | 5, 0, 0, 0, 0, 0)) == ALLOW
    assert interpret(program, 3, 0x40000003, (5, 0, 0, 0, 0, 0)) == EPERM
    assert interpret(program, 3, 0x40000003, (0, 0, 0, 0, 0, 0)) == EPERM


def test_an_argument_named_twice_means_either():
    arguments = [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"} for value in (3, 4)]
    program = compile_filter(only(args=arguments), "x86_64")
    results = [interpret(program, 0, 0xC000003E, (0, value, 0, 0, 0, 0)) for value in (2, 3, 4)]
    assert results == [EPERM, ALLOW, ALLOW]


def test_i386_multiplexers_follow_the_calls_they_stand_for():
    conditional = [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["bind", "shmget"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": conditional},
            {"names": ["listen"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": conditional},
        ],
    }
    program = compile_filter(document, "x86_64")

    def result(nr, first):
        return interpret(program, nr, 0x40000003, (first, 0, 0, 0, 0, 0))

    socketcall, ipc = 102, 117
    assert result(socketcall, 2) == ALLOW  # bind
    assert result(socketcall, 1) == EPERM  # socket: its arguments cannot be seen
    assert result(socketcall, 4) == 0x50000 | 13  # listen: forbidden, whatever its arguments
    assert result(ipc, 23) == ALLOW
    assert result(ipc, 1) == EPERM


def test_calls_newer_than_the_profile_do_not_exist():
    program = compile_filter(only(names=["read", "openat2"]), "x86_64")
    results = {nr: interpret(program, nr, 0xC000003E) for nr in (0, 1, 436, 437, 438, 1000)}
    assert results == {0: ALLOW, 1: EPERM, 436: EPERM, 437: ALLOW, 438: ENOSYS, 1000: ENOSYS}
    permissive = {**only(action="SCMP_ACT_ERRNO"), "defaultAction": "SCMP_ACT_LOG"}
    assert interpret(compile_filter(permissive, "x86_64"), 1000, 0xC000003E) == 0x7FFC0000


def test_a_program_with_long_jumps():
    """Enough conditions to put targets out of the 255 instructions that a conditional jump reaches."""
    names = list(tables.numbers("x86_64"))[:200]
    rules = [
        {
            "names": [name],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": position, "op": "SCMP_CMP_EQ"}],
        }
        for position, name in enumerate(names)
    ]
    program = compile_filter({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}, "x86_64")
    for position, name in enumerate(names):
        nr = tables.numbers("x86_64")[name]
        assert interpret(program, nr, 0xC000003E, (position, 0, 0, 0, 0, 0)) == ALLOW
        assert interpret(program, nr, 0xC000003E, (position + 1, 0, 0, 0, 0, 0)) == EPERM


def test_what_is_not_supported_or_nonsense_is_refused():
    with pytest.raises(NotSupported, match="SCMP_ACT_NOTIFY"):
        compile_filter(only(action="SCMP_ACT_NOTIFY"))
    for document in (
        {},
        {"defaultAction": "ALLOW"},
        only(action="SCMP_ACT_NOTHING"),
        only(args=[{"index": 0, "value": 1, "op": "EQ"}]),
        only(args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]),
        only(args=[{"index": 0, "value": 1 << 64, "op": "SCMP_CMP_EQ"}]),
        only(args=[{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]),
        {**only(), "architectures": ["SCMP_ARCH_PDP11"]},
    ):
        with pytest.raises(InvalidParameter):
            compile_filter(document)
    values = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in range(3000)]
    with pytest.raises(InvalidParameter, match="at most 4096"):
        compile_filter(only(args=values))
    with pytest.raises(InvalidParameter):
        flags_of({"flags": ["SECCOMP_FILTER_FLAG_FANCY"]})


def test_flags():
    assert flags_of({}) == 4
    assert flags_of({"flags": []}) == 0
    assert flags_of({"flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]}) == 3
