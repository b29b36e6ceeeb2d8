import pytest

from corten.wire.archivepath import base, clean, inside, keep_ending, split


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"), ("etc", "/etc"), ("/etc/", "/etc/"), ("/etc/.", "/etc/."), (".", "/."), ("..", "/"),
        ("../..", "/"), ("/d/../etc", "/etc"), ("./etc/./passwd", "/etc/passwd"), ("//a///b//", "/a/b/"), ("/.", "/."),
    ],
)  # fmt: skip
def test_paths_begin_at_the_root_and_keep_their_ending(path, expected):
    assert inside(path) == expected


def test_parts():
    assert [base(path) for path in ("", "/", "/etc/", "/etc/.", "a", "..")] == [
        ".",
        "/",
        "etc",
        ".",
        "a",
        "..",
    ]
    assert split("/etc/passwd") == ("/etc", "passwd")
    assert split("/etc/.") == ("/etc", ".")
    assert split("/etc") == ("/", "etc")
    assert split("name/") == (".", "name")
    assert split(".") == (".", ".")


def test_cleaning():
    assert [clean(path) for path in ("", "a/../..", "/a/..", "a/./b/")] == [".", "..", "/", "a/b"]
    assert keep_ending("/", "/x/..") == "/"
    assert keep_ending("/", "/.") == "/."
