"""`userns-remap` as dockerd reads it."""

import grp
import pwd
from types import SimpleNamespace

import pytest

from corten.daemon import remap
from corten.daemon.config import ConfigError, DaemonConfig


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with one user who has ids, and one who has none."""
    users = {"anna": 1000, "bert": 1001, "root": 0}

    def look_up(table, error):
        def find(key):
            if key not in table:
                raise error
            return SimpleNamespace(pw_name=table[key], pw_uid=table[key])

        return find

    monkeypatch.setattr(pwd, "getpwnam", look_up(users, KeyError()))
    monkeypatch.setattr(pwd, "getpwuid", look_up({uid: name for name, uid in users.items()}, KeyError()))
    monkeypatch.setattr(grp, "getgrnam", look_up({"staff": 50}, KeyError()))
    monkeypatch.setattr(grp, "getgrgid", look_up({50: "staff"}, KeyError()))
    for name, line in (("SUBUID", "anna:100000:1000\n1000:300000:10\n"), ("SUBGID", "anna:200000:1000\n")):
        (tmp_path / name).write_text(line)
        monkeypatch.setattr(remap, name, str(tmp_path / name))
    return tmp_path


def remapped(text):
    return remap.remapped(DaemonConfig({"data-root": "/data", "userns-remap": text}, {}, ""))


@pytest.mark.parametrize("text", ["anna", "1000", "anna:staff", "1000:50"])
def test_all_ids_of_a_user_one_after_the_other(text):
    config = remapped(text)
    assert config.id_maps.outside(999, 999) == (100999, 200999)
    assert config.id_maps.uids[1].host_id == 300000
    assert config.root == "/data/100000.200000"


@pytest.mark.parametrize("text", ["", "root"])
def test_off(text):
    config = remapped(text)
    assert config.id_maps is None
    assert config.root == "/data"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a:b:c", 'invalid user/group specification in --userns-remap: "a:b:c"'),
        ("nobody-here", 'error during uid lookup for "nobody-here"'),
        ("77", "Uid 77 has no entry in /etc/passwd"),
        ("anna:none", 'error during gid lookup for "none"'),
        ("anna:77", "Gid 77 has no entry in /etc/group"),
        ("bert", 'no subuid ranges found for user "bert"'),
    ],
)
def test_complaints(text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        remapped(text)
