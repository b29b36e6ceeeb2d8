"""USER, --group-add and what images put where passwd(5) is looked for."""

import json
from pathlib import Path

import pytest

from corten.snapshots.tar_reader import TarEntry
from imagefiles import directory, symlink

_FIFO = b"6"


@pytest.mark.parametrize(
    "user",
    ["4294967296", "2147483648", "-1", "0x0", "9" * 20, "1:4294967296", "root:2147483648", "\u0660", "+0"],
)
def test_ids_that_would_wrap_to_root(attacker, plain, user):
    """CVE-2024-40635: a uid beyond 31 bits is refused, not reduced."""
    container = attacker.create(plain, "id", User=user)
    assert attacker.start(container)[0] == 400
    sleeper = attacker.create(plain, "sleep", "60")
    attacker.start(sleeper)
    assert "uid=0" not in attacker.exec(sleeper, "id", User=user)[1]


@pytest.mark.parametrize("group", ["4294967296", "2147483648", "-1", "wheel"])
def test_groups_that_would_wrap(attacker, plain, group):
    container = attacker.create(plain, "id", User="1000", host={"GroupAdd": [group]})
    assert attacker.start(container)[0] == 400


def test_names_of_digits_decide_nothing(attacker):
    """An entry that is *called* 1000 and has uid 0 is not who USER 1000 means (CVE-2026-46680)."""
    image = attacker.image(passwd=b"1000:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n0:x:77:77::/:/bin/sh\n")
    assert attacker.sh(image, "id -u", "--user=1000").stdout == "1000\n"
    assert attacker.sh(image, "id -u", "--user=0").stdout == "0\n"
    assert attacker.sh(image, "id -u; id -g", "--user=1000:1000").stdout == "1000\n1000\n"


def test_malformed_entries_are_passed_over(attacker):
    lines = b"a\nevil:x:4294967296:0::/:\nevil:x::0::/:\nevil:x:-5:0::/:\n\xff\xfe:::\nevil:x:7:8\n"
    image = attacker.image(passwd=lines)
    assert attacker.sh(image, "id -u; id -g", "--user=evil").stdout == "7\n8\n"


@pytest.mark.parametrize(
    "member",
    [
        TarEntry(b"etc/passwd", _FIFO, 0o644),
        directory("etc/passwd"),
        symlink("etc/passwd", "/proc/self/environ"),
        symlink("etc/passwd", "/etc/passwd"),
        symlink("etc/passwd", "/dev/zero"),
        symlink("etc/passwd", "../../../../../../../../etc/passwd"),
    ],
    ids=["fifo", "directory", "environ", "loop", "endless", "above"],
)
def test_a_passwd_that_is_no_file(attacker, member):
    """Neither read for ever nor read from the host: the name is simply not found."""
    image = attacker.image(member)
    for name in ("sys", "nobody"):  # the host has both
        container = attacker.create(image, "true", User=name)
        status, text = attacker.start(container)
        assert status == 400 and "no matching entries in passwd file" in text
    container = attacker.create(image, "true", User="12")
    assert attacker.start(container)[0] == 204
    assert attacker.wait(container) == 0


def test_a_bomb_for_a_passwd(attacker):
    """CVE-2026-47262 and its kin: half a gigabyte in the image costs the engine next to nothing."""
    members = [(f"etc/{name}", b"a:x:1:1::/:/bin/sh\n" * 3_000_000) for name in ("passwd", "group")]
    image = attacker.image(*members)
    before = peak_kb(attacker.engine.pid)
    container = attacker.create(image, "true", User="zoe", host={"GroupAdd": ["nogroup"]})
    assert attacker.start(container)[0] == 400
    sleeper = attacker.create(image, "sleep", "60", User="0")
    assert attacker.start(sleeper)[0] == 204
    attacker.exec(sleeper, "true", User="zoe")
    assert peak_kb(attacker.engine.pid) - before < 40_000


def peak_kb(pid):
    """The most memory a process ever had."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0])


def test_home_of_the_image_is_a_string_and_no_more(attacker):
    image = attacker.image(passwd=b"root:x:0:0::/$(touch /pwned)\x1b;`id`:/bin/sh\n")
    container = attacker.create(image, "sh", "-c", "echo ok")
    assert attacker.start(container)[0] == 204
    assert attacker.wait(container) == 0
    assert not (attacker.upper(container) / "pwned").exists()
    inspected = json.loads(attacker.engine.request("GET", f"/containers/{container}/json")[1])
    assert inspected["State"]["ExitCode"] == 0
