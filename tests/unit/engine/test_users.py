import pytest

from corten.engine.containers.users import resolve_user
from corten.errors import InvalidParameter

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# comment
broken
web:x:33:33:w:/srv:/bin/false
1000:x:0:0::/evil:
big:x:99999999999:1::/:
"""
GROUP = b"root:x:0:root\nbin:x:1:root,web\nweb:x:33:\nstaff:x:50:web\n"


def resolve(user, *extra):
    found = resolve_user(user, PASSWD, GROUP, extra)
    return found.uid, found.gid, found.groups, found.home


def test_default_is_root_with_its_groups():
    assert resolve("") == (0, 0, (0, 1), "/root")


def test_without_files_root_has_no_home_but_the_root():
    assert resolve_user("", b"", b"").home == "/"


def test_name_uid_and_groups():
    assert resolve("web") == (33, 33, (33, 1, 50), "/srv")
    assert resolve("33") == (33, 33, (33, 1, 50), "/srv")
    assert resolve("web:staff") == (33, 50, (50,), "/srv")
    assert resolve("33:7") == (33, 7, (7,), "/srv")
    assert resolve("12345") == (12345, 0, (0,), "/")


def test_a_name_of_digits_is_an_id():
    assert resolve("1000") == (1000, 0, (0,), "/")


def test_group_add():
    assert resolve("33:33", "staff", "7")[2] == (33, 50, 7)


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("nobody2", "unable to find user nobody2: no matching entries in passwd file"),
        ("web:nope", "unable to find group nope: no matching entries in group file"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        ("0:4294967296", "uids and gids must be in range 0-2147483647"),
        ("99999999999999999999999", "uids and gids must be in range 0-2147483647"),
    ],
)
def test_refusals(user, text):
    with pytest.raises(InvalidParameter, match=text):
        resolve(user)
