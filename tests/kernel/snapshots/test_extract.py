import os
import stat
import subprocess

import pytest

from corten.snapshots.errors import BadArchive
from corten.snapshots.tar_reader import BLOCK_DEVICE, CHARACTER, FIFO, TarEntry
from imagefiles import directory, hard_link, symlink, tar, tree


def opaque(path):
    try:
        return os.getxattr(path, "trusted.overlay.opaque")
    except OSError:
        return None


def is_whiteout(path):
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def test_attributes_are_those_of_the_archive(unpack):
    root = unpack(
        tar(
            directory("d", 0o1777, uid=5, gid=6, mtime_ns=1_000_000_000),
            (
                TarEntry(
                    b"d/suid", mode=0o4755, uid=7, gid=8, mtime_ns=2_000_000_000, xattrs={b"user.note": b"hi"}
                ),
                b"data",
            ),
            TarEntry(b"null", CHARACTER, 0o666, major=1, minor=3, mtime_ns=3_000_000_000),
            TarEntry(b"disk", BLOCK_DEVICE, 0o660, uid=0, gid=6, major=8, minor=0),
            TarEntry(b"pipe", FIFO, 0o620),
            symlink("l", "/nowhere"),
            hard_link("d/same", "d/suid"),
        )
    )
    d, suid = os.stat(root / "d"), os.stat(root / "d/suid")
    assert (stat.S_IMODE(d.st_mode), d.st_uid, d.st_gid, d.st_mtime) == (0o1777, 5, 6, 1)
    assert (stat.S_IMODE(suid.st_mode), suid.st_uid, suid.st_gid, suid.st_mtime) == (0o4755, 7, 8, 2)
    assert os.getxattr(root / "d/suid", "user.note") == b"hi"
    assert (root / "d/same").samefile(root / "d/suid")
    null = os.stat(root / "null")
    assert (stat.S_ISCHR(null.st_mode), null.st_rdev, stat.S_IMODE(null.st_mode)) == (
        True,
        os.makedev(1, 3),
        0o666,
    )
    assert stat.S_ISBLK(os.stat(root / "disk").st_mode)
    assert stat.S_IMODE(os.stat(root / "pipe").st_mode) == 0o620
    assert os.readlink(root / "l") == "/nowhere"


def test_capabilities_survive(unpack):
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    root = unpack(tar((TarEntry(b"ping", mode=0o755, uid=1, xattrs={b"security.capability": value}), b"x")))
    assert os.getxattr(root / "ping", "security.capability") == value


def test_later_entries_replace_earlier_ones(unpack):
    root = unpack(
        tar(
            ("a", b"1"), ("a", b"2"),
            directory("b"), ("b/x", b"x"), ("b", b"file"),
            ("c", b"file"), directory("c"), ("c/y", b"y"),
            symlink("e", "/a"), ("e", b"no link"),
            directory("f", 0o700), ("f/z", b"z"), directory("f", 0o711),
        )
    )  # fmt: skip
    assert (root / "a").read_bytes() == b"2"
    assert (root / "b").read_bytes() == b"file"
    assert (root / "c/y").read_bytes() == b"y"
    assert (root / "e").read_bytes() == b"no link"
    assert stat.S_IMODE(os.stat(root / "f").st_mode) == 0o711
    assert (root / "f/z").read_bytes() == b"z"


@pytest.mark.parametrize("target", ["b", "/x"])
def test_the_time_of_a_directory_that_was_replaced_is_nobody_s(unpack, target):
    entries = (directory("x/c"), directory("a/b/c"), symlink("a/b", target))
    for entry, seconds in zip(entries, (5, 7, 7), strict=True):
        entry.mtime_ns = seconds * 10**9
    root = unpack(tar(*entries))
    assert os.readlink(root / "a/b") == target
    assert os.stat(root / "x/c").st_mtime == 5


def test_missing_parents_are_made(unpack):
    assert (unpack(tar(("x/y/z", b"1"))) / "x/y/z").read_bytes() == b"1"


def test_many_directories_need_few_descriptors(unpack):
    root = unpack(tar(*((f"d{i}/f", b"x") for i in range(1500))))
    assert len(os.listdir(root)) == 1500


def test_whiteouts_become_overlays_own(unpack):
    root = unpack(
        tar(
            directory("d"), ("d/.wh..wh..opq", b""), ("d/.wh.gone", b""), ("d/here", b"1"),
            (".wh..wh.plnk", b"aufs"), directory(".wh..wh.aufs"), (".wh..wh.aufs/x", b""),
        ),
        whiteouts=True,
    )  # fmt: skip
    assert sorted(os.listdir(root)) == ["d"]
    assert sorted(os.listdir(root / "d")) == ["gone", "here"]
    assert is_whiteout(root / "d/gone")
    assert opaque(root / "d") == b"y"


@pytest.mark.parametrize("first", ["whiteout", "directory"])
def test_a_directory_and_its_whiteout_in_one_layer_hide_what_is_below(unpack, first):
    members = [(".wh.d", b""), directory("d")]
    root = unpack(tar(*(members if first == "whiteout" else members[::-1])), whiteouts=True)
    assert opaque(root / "d") == b"y"


def test_whiteouts_do_not_delete_what_the_layer_itself_brings(unpack):
    root = unpack(tar(("f", b"mine"), (".wh.f", b"")), whiteouts=True)
    assert (root / "f").read_bytes() == b"mine"


def test_without_whiteouts_they_are_files(unpack):
    assert (unpack(tar((".wh.x", b"plain"))) / ".wh.x").read_bytes() == b"plain"


def test_owner_can_be_forced(unpack):
    root = unpack(tar((TarEntry(b"f", uid=5, gid=5), b""), directory("d", uid=9)), owner=(1, 2))
    assert {(os.stat(root / n).st_uid, os.stat(root / n).st_gid) for n in "fd"} == {(1, 2)}


def test_keep_types(unpack):
    with pytest.raises(BadArchive, match='cannot overwrite directory "/d" with non-directory "d"'):
        unpack(tar(directory("d"), ("d", b"")), keep_types=True)
    with pytest.raises(BadArchive, match='cannot overwrite non-directory "/f" with directory "f"'):
        unpack(tar(("f", b""), directory("f")), keep_types=True)


def test_below_a_directory_links_lead_through_the_whole_root(unpack):
    root = unpack(
        tar(directory("etc"), directory("app"), symlink("app/conf", "/etc"), symlink("app/up", ".."))
    )
    unpack(
        tar(directory("./", 0o700), ("conf/a", b"1"), ("up/b", b"2"), ("d/c", b"3"), hard_link("e", "d/c")),
        below=b"app",
    )
    assert (root / "etc/a").read_bytes() == b"1"
    assert (root / "b").read_bytes() == b"2"
    assert (root / "app/e").samefile(root / "app/d/c")
    assert stat.S_IMODE(os.stat(root / "app").st_mode) == 0o700
    with pytest.raises(BadArchive, match="leads outside"):
        unpack(tar(("../etc/x", b"")), below=b"app")


def test_sparse_files_stay_sparse(unpack, tmp_path):
    with open(tmp_path / "holes", "wb") as f:
        f.seek(1 << 20)
        f.write(b"middle")
        f.truncate(20 << 20)
    data = subprocess.run(
        ["tar", "-S", "-C", str(tmp_path), "-cf", "-", "holes"], capture_output=True, check=True
    ).stdout
    root = unpack(data)
    assert (root / "holes").read_bytes() == (tmp_path / "holes").read_bytes()
    assert os.stat(root / "holes").st_blocks * 512 < 1 << 20


def test_same_tree_as_gnu_tar(unpack, tmp_path):
    """A piece of a real Debian system, through both."""
    archive = subprocess.run(
        [
            "tar",
            "-C",
            "/",
            "--xattrs",
            "-cf",
            "-",
            "usr/lib/python3/dist-packages",
            "etc/alternatives",
            "usr/bin/passwd",
            "var/lib/dpkg/alternatives",
        ],
        capture_output=True,
    ).stdout
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "-xpf", "-"], input=archive, cwd=theirs, check=True
    )
    for path in ("usr", "usr/lib", "usr/lib/python3", "etc", "usr/bin", "var", "var/lib", "var/lib/dpkg"):
        os.utime(theirs / path, (0, 0))  # parents that the archive does not hold
    ours = unpack(archive)
    for path in ("usr", "usr/lib", "usr/lib/python3", "etc", "usr/bin", "var", "var/lib", "var/lib/dpkg"):
        os.utime(ours / path, (0, 0))
    assert tree(ours) == tree(theirs)
