"""EROFS layers: mounted, they are the tree that GNU tar and our own extraction make."""

import io
import os
import subprocess
import tarfile
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corten.errors import InvalidParameter
from corten.snapshots.erofs import mounts
from corten.snapshots.erofs.mounts import LayerMounts
from corten.snapshots.erofs.unpack import unpack
from corten.snapshots.extract import ExtractOptions, Extractor
from corten.snapshots.tar_reader import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    TarEntry,
    TarReader,
)
from imagefiles import directory, symlink, tar, tree

pytestmark = pytest.mark.root

if os.geteuid() == 0 and not mounts.is_supported("/tmp"):
    pytest.skip("mounting EROFS from files needs Linux 6.12", allow_module_level=True)


class Layers:
    def __init__(self, root):
        self.root = root
        self.mounts = LayerMounts(str(root))
        self.number = 0

    def erofs(self, data, piece=100_000):
        """Unpack and mount; the mounted directory."""
        self.number += 1
        path = self.root / f"layer{self.number}"
        path.mkdir()
        self.unpack(data, path, piece)
        return self.mounts.tree(str(path))

    def unpack(self, data, path, piece=100_000):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return unpack((data[at : at + piece] for at in range(0, len(data), piece)), fd)
        finally:
            os.close(fd)

    def extracted(self, data):
        """Extract; the directory."""
        self.number += 1
        path = self.root / f"extracted{self.number}"
        path.mkdir(mode=0o755)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with Extractor(fd, ExtractOptions(whiteouts=True)) as extractor:
                extractor.extract(TarReader([data]))
        finally:
            os.close(fd)
        return str(path)


@pytest.fixture
def layers(tmp_path):
    old = os.umask(0)
    made = Layers(tmp_path)
    yield made
    made.mounts.close()
    os.umask(old)


STARTED = int(time.time())


def settled(root):
    """The tree without the times of directories made on the way, which are those of the unpacking."""
    return {
        name: (*values[:5], values[5] if values[5] < STARTED else 0, *values[6:])
        for name, values in tree(root).items()
    }


def same(layers, data):
    mounted, extracted = layers.erofs(data), layers.extracted(data)
    assert settled(mounted) == settled(extracted)
    ours, theirs = os.stat(mounted), os.stat(extracted)
    assert (ours.st_mode, ours.st_uid, ours.st_gid) == (theirs.st_mode, theirs.st_uid, theirs.st_gid)
    return mounted


def entry(name, kind=REGULAR, **more):
    return TarEntry(name.encode() if isinstance(name, str) else name, type=kind, mtime_ns=7 * 10**9, **more)


def test_all_kinds(layers):
    data = tar(
        directory("d", 0o1711, uid=3),
        (entry("d/f", mode=0o4755, uid=70_000, gid=5, xattrs={b"user.a": b"1", b"trusted.b": b"x" * 3000}), b"content"),
        (entry("empty"), b""),
        (entry("big"), os.urandom(3_000_001)),
        symlink("s", "d/f"), symlink("long", "x" * 4000),
        entry("d/hard", HARD_LINK, linkname=b"d/f"),
        entry("c", CHARACTER, major=5, minor=1, mode=0o620), entry("b", BLOCK_DEVICE, major=259, minor=70_000),
        entry("p", FIFO), (entry("a/b/" + "n" * 255), b"deep"), (entry("k" * 120), b"pax name"),
        (".wh.gone", b""), ("d/.wh..wh..opq", b""), ("made/on/the/way", b"x"),
        (entry("cap", xattrs={b"security.capability": b"\1\0\0\2" + bytes(16)}), b"x"),
    )  # fmt: skip
    mounted = same(layers, data)
    assert os.getxattr(os.path.join(mounted, "d"), "trusted.overlay.opaque") == b"y"


def test_a_directory_of_many_names(layers):
    same(layers, tar(*((f"many/{'n' * (n % 60)}{n}", b"%d" % n) for n in range(3000))))


def test_replacing(layers):
    same(layers, tar(
        directory("d"), ("d/x", b"1"), ("d", b"file now"), directory("d", 0o700), ("d/y", b"2"),
        symlink("l", "d"), ("l/z", b"through the link"), ("l", b"no link now"),
        (".wh.w", b""), directory("w"), ("w/f", b""), directory("v"), (".wh.v", b""),
        ("h", b"1"), entry("h2", HARD_LINK, linkname=b"h"), ("h", b"2"), entry("h2", HARD_LINK, linkname=b"h2"),
        symlink("up", "../../d"), ("up/q", b"stays inside"), symlink("abs", "/d"), ("abs/r", b""),
    ))  # fmt: skip


def test_sparse_files(layers, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    with open(source / "holes", "wb") as f:
        for n in range(40):
            f.seek(n * 1_000_000 + 777)
            f.write(os.urandom(5000 + n))
        f.truncate(90_000_000)
    with open(source / "empty", "wb") as f:
        f.truncate(123_456_789)
    (source / "plain").write_bytes(b"plain" * 999)
    for options in (["--format=gnu"], ["--format=posix", "--sparse-version=1.0"],
                    ["--format=posix", "--sparse-version=0.1"]):  # fmt: skip
        data = subprocess.run(
            ["tar", "-C", source, "-S", *options, "-cf", "-", "."], check=True, capture_output=True
        ).stdout
        assert len(data) < 2_000_000
        same(layers, data)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(layers, format):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name in ("/".join(["d" * 200] * 15) + "/f", "ü" * 100, "x" * 255):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    same(layers, out.getvalue())


def test_a_real_system(layers, tmp_path):
    """/usr/share of this machine, against GNU tar."""
    packed = tmp_path / "system.tar"
    with open(packed, "wb") as out:
        subprocess.run(
            ["tar", "-C", "/", "--xattrs", "--xattrs-include=*", "--sort=name", "--numeric-owner", "-c", "etc",
             "usr/share/doc", "usr/bin", "usr/lib/python3", "dev/null", "dev/tty"],
            check=False, stdout=out, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    mounted = layers.erofs(packed.read_bytes())
    target = tmp_path / "gnu"
    target.mkdir()
    subprocess.run(
        ["tar", "-C", target, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", packed],
        check=True, umask=0o022,
    )  # fmt: skip
    assert settled(mounted) == settled(str(target))


NAMES = st.sampled_from(["a", "b", "a/b", "a/b/c", "l", "l/b", "a/l", "a/l/c", "b/.wh.c", ".wh.a", "a/.wh..wh..opq",
                         "b/c/d", "./a/../b", "/b", "l/../a"])  # fmt: skip
TARGETS = st.sampled_from(["a", "b", "..", "/a/b", "l", "../../b/c", "missing"])


@st.composite
def members(draw):
    name, kind = draw(NAMES), draw(st.sampled_from([REGULAR, DIRECTORY, SYMLINK, HARD_LINK, CHARACTER, FIFO]))
    if ".wh." in name:
        kind = REGULAR
    member = entry(
        name, kind, mode=draw(st.sampled_from([0o644, 0o755, 0o4711])), uid=draw(st.sampled_from([0, 9]))
    )
    if kind in (SYMLINK, HARD_LINK):
        member.linkname = draw(TARGETS).encode()
    if kind == CHARACTER:
        member.major, member.minor = draw(st.sampled_from([(1, 3), (0, 0)]))
    if kind in (REGULAR, DIRECTORY) and draw(st.booleans()):
        member.xattrs = {b"user.k": draw(st.binary(max_size=5))}
    return (member, draw(st.binary(max_size=700))) if kind == REGULAR else member


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(members(), max_size=12))
def test_any_archive_is_the_same_by_both_ways(layers, entries):
    data = tar(*entries)
    try:
        expected = settled(layers.extracted(data))
    except (InvalidParameter, OSError) as error:
        layers.number += 1
        path = layers.root / f"failed{layers.number}"
        path.mkdir()
        with pytest.raises((InvalidParameter, OSError)) as raised:
            layers.unpack(data, path)
        assert getattr(raised.value, "errno", None) == getattr(error, "errno", None)
        return
    mounted = layers.erofs(data)
    assert settled(mounted) == expected
    layers.mounts.release(os.path.dirname(mounted))


def test_mounts_of_a_former_engine_are_taken_away(layers):
    mounted = layers.erofs(tar(("f", b"x")))
    assert os.path.ismount(mounted)
    again = LayerMounts(str(layers.root))
    assert not os.path.ismount(mounted)
    assert os.listdir(again.tree(os.path.dirname(mounted))) == ["f"]
    again.close()
    assert not os.path.ismount(mounted)


def test_a_mounted_layer_cannot_be_written_to(layers):
    mounted = layers.erofs(tar(("f", b"x")))
    with pytest.raises(OSError, match="Read-only file system"):
        os.open(os.path.join(mounted, "f"), os.O_WRONLY)
