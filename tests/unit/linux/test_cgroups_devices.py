"""Device rules: the policy they boil down to, and the eBPF program made of it, interpreted."""

import random
import struct

import pytest

from corten.linux import devices
from corten.linux.cgroups.device_policy import DevicePolicy
from corten.linux.cgroups.device_program import assemble

TYPES = {"b": 1, "c": 2}
BITS = {"m": 1, "r": 2, "w": 4}


def interpret(program, kind, major, minor, access):
    """Run the program as the kernel would; the instructions that we use."""
    bits = sum(BITS[letter] for letter in access)
    context = struct.pack("<III", bits << 16 | TYPES[kind], major, minor)
    registers, pc = [0] * 11, 0
    while True:
        code, pair, offset, immediate = struct.unpack_from("<BBhi", program, pc * 8)
        target, source = pair & 15, pair >> 4
        pc += 1
        if code == 0x61:
            assert source == 1
            (registers[target],) = struct.unpack_from("<I", context, offset)
        elif code == 0x57:
            registers[target] &= immediate
        elif code == 0x77:
            registers[target] >>= immediate
        elif code == 0xBF:
            registers[target] = registers[source]
        elif code == 0xB7:
            registers[target] = immediate
        elif code == 0x15:
            pc += offset if registers[target] == immediate else 0
        elif code == 0x55:
            pc += offset if registers[target] != immediate else 0
        elif code == 0x95:
            return bool(registers[0])
        else:
            raise AssertionError(f"instruction {code:#x}")


def kernel_v1(rules, kind, major, minor, access):
    """The v1 controller's verdict, from security/device_cgroup.c, for rules applied in order."""
    default, exceptions = True, []  # [type, major, minor, set of letters]
    for rule in rules:
        if devices.is_everything(rule):
            default, exceptions = rule["allow"], []
            continue
        for one in "bc" if rule.get("type", "a") == "a" else rule["type"]:
            key = [one, devices.number(rule, "major"), devices.number(rule, "minor")]
            found = next((e for e in exceptions if e[:3] == key), None)
            letters = set(rule["access"])
            if rule["allow"] != default:
                if found:
                    found[3] |= letters
                else:
                    exceptions.append([*key, letters])
            elif found:
                found[3] -= letters
    for one, rule_major, rule_minor, letters in exceptions:
        if one == kind and rule_major in (None, major) and rule_minor in (None, minor):
            if not default and set(access) <= letters:
                return True
            if default and set(access) & letters:
                return False
    return default


def allowed(rules, kind, major, minor, access):
    return interpret(assemble(DevicePolicy(rules)), kind, major, minor, access)


@pytest.mark.parametrize(
    ("kind", "major", "minor", "access", "verdict"),
    [
        ("c", 1, 3, "rw", True),
        ("c", 136, 7, "rw", True),
        ("c", 5, 2, "rwm", True),
        ("c", 10, 229, "m", True),
        ("c", 10, 229, "r", False),
        ("c", 1, 1, "r", False),
        ("b", 8, 0, "m", True),
        ("b", 8, 0, "mr", False),
        ("b", 1, 3, "r", False),
    ],
)
def test_an_ordinary_container(kind, major, minor, access, verdict):
    rules = devices.effective_rules(list(devices.DOCKER_RULES))
    assert allowed(rules, kind, major, minor, access) is verdict
    assert kernel_v1(rules, kind, major, minor, access) is verdict


def test_privileged():
    assert allowed([devices.ALLOW_ALL], "b", 259, 1, "rwm")


def test_later_rules_change_earlier_ones():
    allow = devices.parse_rule("c 10:200 rw")
    deny = {**allow, "allow": False, "access": "w"}
    rules = [devices.DENY_ALL, allow, deny]
    assert allowed(rules, "c", 10, 200, "r")
    assert not allowed(rules, "c", 10, 200, "w")
    assert not allowed(rules, "c", 10, 200, "rw")
    assert not allowed([*rules, devices.DENY_ALL], "c", 10, 200, "r")


def test_denying_part_of_everything():
    rules = [devices.ALLOW_ALL, {"allow": False, "type": "c", "major": 1, "minor": 1, "access": "w"}]
    assert allowed(rules, "c", 1, 1, "r")
    assert not allowed(rules, "c", 1, 1, "rw")
    assert allowed(rules, "b", 1, 1, "w")


@pytest.mark.parametrize("seed", range(100))
def test_random_rules_are_what_the_v1_controller_would_do(seed):
    rng = random.Random(seed)
    numbers = [None, 1, 2]

    def rule():
        result = {"allow": rng.random() < 0.5, "type": rng.choice("abc")}
        result["access"] = "".join(rng.sample("rwm", rng.randint(1, 3)))
        result["major"], result["minor"] = rng.choice(numbers), rng.choice(numbers)
        return result

    rules = [rng.choice([devices.DENY_ALL, devices.ALLOW_ALL]), *(rule() for _ in range(rng.randint(0, 8)))]
    program = assemble(DevicePolicy(rules))
    for kind in "bc":
        for major in (1, 2, 3):
            for minor in (1, 2, 3):
                for access in ("r", "w", "m", "rw", "rwm"):
                    expected = kernel_v1(rules, kind, major, minor, access)
                    assert interpret(program, kind, major, minor, access) is expected
