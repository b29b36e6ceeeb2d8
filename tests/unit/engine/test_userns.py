"""Which ids of the host stand for a container's."""

import pytest

from corten.engine import subids
from corten.engine.containers import userns
from corten.engine.containers.userns import Chooser, IdMaps, composed, consecutive, kept_user, parse_mode
from corten.errors import Conflict, InvalidParameter
from corten.types.container import HostConfig

ENGINE = IdMaps(consecutive([(100000, 65536)]), consecutive([(200000, 65536)]))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """/etc/subuid and /etc/subgid with three containers' worth of ids."""
    for name, first in (("SUBUID", 1000000), ("SUBGID", 2000000)):
        path = tmp_path / name
        path.write_text(f"other:5000:100\ncontainers:{first}:{3 * 65536}\n")
        monkeypatch.setattr(userns, name, str(path))
    return tmp_path


def chooser(default=None, taken=()):
    return Chooser(default, lambda: taken)


def ids(mappings):
    return [(each.container_id, each.host_id, each.size) for each in mappings]


@pytest.mark.parametrize(
    "text",
    ["x", "auto:", "auto:size=0", "auto:size=x", "auto:uid=1", "host:x=1", "keep-id", "keep-id:uid=0,gid=1",
     "keep-id:uid=5", "auto:size=99999999999", "private"],
)  # fmt: skip
def test_modes_that_are_none(text):
    with pytest.raises(InvalidParameter, match=f"invalid user namespace mode: {text}"):
        parse_mode(text)


def test_modes():
    assert parse_mode("auto:size=4096").size == 4096
    assert kept_user("keep-id:uid=1000,gid=100") == "1000:100"
    assert kept_user("auto") == ""


def test_the_engines_map_unless_the_host_is_asked_for():
    assert chooser(ENGINE).choose(HostConfig(), []) == ENGINE
    assert chooser(ENGINE).choose(HostConfig(userns_mode="host", privileged=True), []) is None
    assert chooser().choose(HostConfig(network_mode="host"), []) is None


def test_automatic_ranges_are_disjoint_and_are_used_again(files):
    first = chooser().choose(HostConfig(userns_mode="auto"), [])
    assert ids(first.uids) == [(0, 1000000, 65536)]
    assert ids(first.gids) == [(0, 2000000, 65536)]
    second = chooser(taken=[first]).choose(HostConfig(userns_mode="auto:size=1000"), [])
    assert ids(second.uids) == [(0, 1065536, 1000)]
    third = chooser(taken=[second, first]).choose(HostConfig(userns_mode="auto"), [])
    assert ids(third.uids) == [(0, 1066536, 65536)]
    with pytest.raises(Conflict, match="no 65536 ids are left of those of containers"):
        chooser(taken=[first, second, third]).choose(HostConfig(userns_mode="auto"), [])
    assert chooser(taken=[second, third]).choose(HostConfig(userns_mode="auto"), []) == first


def test_without_ranges_the_file_is_named(files):
    (files / "SUBGID").write_text("")
    with pytest.raises(Conflict, match=r"a line 'containers:FIRST:COUNT' in .*SUBGID"):
        chooser().choose(HostConfig(userns_mode="auto"), [])


def test_a_kept_id_is_itself_and_all_others_are_not(files):
    maps = chooser().choose(HostConfig(userns_mode="keep-id:uid=1000,gid=70000"), [])
    assert ids(maps.uids) == [(0, 1000000, 1000), (1000, 1000, 1), (1001, 1001000, 64536)]
    assert ids(maps.gids) == [(0, 2000000, 65536), (70000, 70000, 1)]
    assert maps.outside(999, 70000) == (1000999, 70000)
    assert maps.outside(1001, 5) == (1001000, 2000005)
    with pytest.raises(InvalidParameter):
        maps.outside(70000, 0)


def test_an_id_for_containers_is_not_kept(files):
    with pytest.raises(Conflict, match="is itself one of those for containers"):
        chooser().choose(HostConfig(userns_mode="keep-id:uid=1000005,gid=5"), [])


def test_who_shares_namespaces_shares_the_ids(files):
    peer = chooser().choose(HostConfig(userns_mode="auto"), [])
    assert chooser(ENGINE).choose(HostConfig(), [peer]) == peer
    assert chooser(ENGINE).choose(HostConfig(), [None]) is None
    with pytest.raises(Conflict, match="another user namespace"):
        chooser(ENGINE).choose(HostConfig(userns_mode="host"), [peer])


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ({"privileged": True}, "privileged mode is incompatible with user namespaces.  You must run"),
        ({"network_mode": "host"}, "cannot share the host's network namespace when user namespaces are"),
        ({"pid_mode": "host"}, "cannot share the host PID namespace when user namespaces are enabled"),
    ],
)
def test_conflicts_in_dockers_words(host, text):
    with pytest.raises(InvalidParameter, match=text):
        chooser(ENGINE).choose(HostConfig(**host), [])


def test_volumes_hold_the_engines_ids():
    own = consecutive([(7000, 10), (9000, 90)])
    assert ids(composed(ENGINE.uids, own)) == [(100000, 7000, 10), (100010, 9000, 90)]


def test_subordinate_ids_skip_nonsense(tmp_path):
    path = tmp_path / "subuid"
    path.write_text("a:100000:65536\nb:1:2\n1000:5:5\na:0:10\na:x:1\na:4294967290:10\na\n\na:200000:1\n")
    assert subids.subordinate_ranges(str(path), "a") == [(100000, 65536), (200000, 1)]
    assert subids.subordinate_ranges(str(path), "someone", 1000) == [(5, 5)]
    assert subids.subordinate_ranges(str(tmp_path / "none"), "a") == []
