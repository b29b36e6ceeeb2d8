import pytest

from corten.errors import InvalidParameter
from corten.linux import devices


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("c 1:3 r", {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}),
        ("b 8:* rwm", {"allow": True, "type": "b", "major": 8, "access": "rwm"}),
        ("a *:* m", {"allow": True, "type": "a", "access": "m"}),
    ],
)
def test_device_cgroup_rules_are_parsed(text, rule):
    assert devices.parse_rule(text) == rule


@pytest.mark.parametrize(
    "text", ["", "c", "d 1:3 r", "c 1 r", "c 1:3", "c 1:3 x", "c -1:3 r", "c 1:3  r", "c 1:3 rwmr"]
)
def test_other_device_cgroup_rules_are_refused_in_dockers_words(text):
    with pytest.raises(InvalidParameter) as refusal:
        devices.parse_rule(text)
    assert str(refusal.value) == f"invalid device cgroup rule format: '{text}'"


def test_a_device_of_the_host_becomes_a_node():
    node = devices.node_of("/dev/null", "/dev/nothing")
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/nothing", "c", 1, 3)
    assert devices.rule_of(node, "rw") == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}


def test_what_is_not_a_device_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidParameter):
        devices.node_of(str(tmp_path / "file"), "/dev/x")
    with pytest.raises(InvalidParameter):
        devices.nodes_below(str(tmp_path), "/dev/x")
    with pytest.raises(FileNotFoundError):
        devices.nodes_below(str(tmp_path / "missing"), "/dev/x")


def test_the_hosts_devices_leave_out_console_and_ptys():
    paths = [node["path"] for node in devices.host_devices()]
    assert "/dev/null" in paths
    assert "/dev/console" not in paths
    assert not any(path.startswith("/dev/pts/") for path in paths)


def test_privileged_needs_one_rule_only():
    assert devices.effective_rules([devices.ALLOW_ALL]) == [devices.ALLOW_ALL]
    rules = devices.effective_rules(list(devices.DOCKER_RULES))
    assert rules[0] == devices.DENY_ALL
    assert {"allow": True, "type": "c", "major": 136, "access": "rwm"} in rules
