"""Layers kept as EROFS: whatever the tar says, only three files are written, and the kernel reads the index."""

import os
import random

import pytest

from corten.snapshots.erofs.mounts import LayerMounts, is_supported
from corten.snapshots.erofs.unpack import unpack
from corten.snapshots.errors import BadArchive
from corten.snapshots.tar_reader import CHARACTER, DIRECTORY, TarEntry
from imagefiles import directory, hard_link, symlink, tar

pytestmark = pytest.mark.root

if os.geteuid() == 0 and not is_supported("/tmp"):
    pytest.skip("mounting EROFS from files needs Linux 6.12", allow_module_level=True)


@pytest.fixture
def attempt(tmp_path):
    """attempt(tar) -> what it raised, or None after the mounted layer was read to its last byte."""
    mounts = LayerMounts(str(tmp_path))
    numbers = iter(range(10_000))

    def run(data):
        path = tmp_path / f"layer{next(numbers)}"
        path.mkdir()
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            unpack([data], fd)
        except (BadArchive, OSError) as e:
            return e
        finally:
            os.close(fd)
            assert set(os.listdir(path)) <= {"layer.tar", "index", "sparse", "tree"}
        mounted = mounts.tree(str(path))
        for parent, names, files in os.walk(mounted):
            for name in (*names, *files):
                where = os.path.join(parent, name)
                os.lstat(where)
                os.listxattr(where, follow_symlinks=False)
            for name in files:
                where = os.path.join(parent, name)
                if os.path.islink(where):
                    os.readlink(where)
                elif os.path.isfile(where):
                    with open(where, "rb") as f:
                        while f.read(1 << 20):
                            pass
        mounts.release(str(path))
        return None

    yield run
    mounts.close()


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "/../x", "a/b/../../../x"])
def test_names_that_lead_out(attempt, name):
    assert isinstance(attempt(tar((name, b"x"))), BadArchive)
    assert isinstance(attempt(tar(("f", b""), hard_link("h", name))), BadArchive)
    assert isinstance(attempt(tar((f"{name}/.wh.x", b""))), BadArchive)


def test_links_lead_nowhere_else(attempt):
    assert attempt(tar(directory("etc"), symlink("out", "../../../etc"), ("out/passwd", b"x"))) is None
    assert attempt(tar(symlink("loop", "loop"), ("loop/x", b""))) is not None
    assert attempt(tar(hard_link("h", "other/layers/file"))) is not None


@pytest.mark.parametrize(
    "member",
    [
        (TarEntry(b"n" * 256), b""),
        (TarEntry(b"n" * 65536), b""),
        (TarEntry(b"/".join([b"d" * 200] * 30)), b""),
        symlink("s", "x" * 4096),
        symlink("s", ""),
        (TarEntry(b"x", xattrs={b"user." + b"k" * 300: b""}), b""),
        (TarEntry(b"x", xattrs={b"security.capability": b"short"}), b""),
    ],
)
def test_entries_that_no_disk_takes(attempt, member):
    assert attempt(tar(member)) is not None


def test_overlayfs_marks_cannot_be_smuggled(attempt, tmp_path):
    entry = TarEntry(
        b"d", type=DIRECTORY, xattrs={b"trusted.overlay.redirect": b"/etc", b"user.overlay.opaque": b"y"}
    )
    assert attempt(tar(entry)) is None
    assert b"redirect" not in (tmp_path / "layer0/index").read_bytes()


def test_deep_and_wide(attempt):
    assert attempt(tar(("/".join(["d"] * 400), b"deep"))) is None
    assert attempt(tar(*((f"f{n}", b"") for n in range(5000)))) is None
    assert attempt(tar(*(("same", b"%d" % n) for n in range(5000)))) is None
    assert (
        attempt(tar(*(TarEntry(b"x", type=CHARACTER, major=4095, minor=(1 << 20) - 1) for _ in range(3))))
        is None
    )


def test_random_damage(attempt):
    sound = tar(directory("d"), ("d/f", b"x" * 2000), symlink("s", "d"), hard_link("h", "d/f"),
                (TarEntry(b"x", xattrs={b"user.a": b"b"}), b"y" * 700))  # fmt: skip
    choose = random.Random(7)
    for _ in range(150):
        data = bytearray(sound)
        for _ in range(choose.randint(1, 4)):
            data[choose.randrange(len(data))] = choose.randrange(256)
        attempt(bytes(data[: choose.choice([len(data), choose.randrange(len(data))])]))
