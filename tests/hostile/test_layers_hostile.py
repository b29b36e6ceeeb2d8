"""Layers that want out of their directory, or to fill the machine. Nothing outside may change."""

import gzip
import os
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.snapshots.decompress import Limits, decompressed
from corten.snapshots.errors import BadArchive, TooLarge
from corten.snapshots.extract import ExtractOptions, Extractor
from corten.snapshots.tar_reader import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, SYMLINK, TarEntry, TarReader
from imagefiles import directory, hard_link, symlink, tar, tree

pytestmark = pytest.mark.root

LAYER = ExtractOptions(whiteouts=True)


@pytest.fixture
def arena(tmp_path):
    """(attempt, canary): attempt(tar) unpacks beside a canary directory that must not change."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("secret")
    (canary / "dir").mkdir()
    target = tmp_path / "target"
    target.mkdir()
    before = tree(canary)

    def attempt(data, options=LAYER):
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with Extractor(fd, options) as extractor:
                extractor.extract(TarReader([data] if isinstance(data, bytes) else data))
        except (BadArchive, OSError) as e:
            return e
        finally:
            os.close(fd)
            assert tree(canary) == before
            assert sorted(os.listdir(tmp_path)) == ["canary", "target"]
        return None

    attempt.target = target
    attempt.canary = canary
    return attempt


ESCAPES = [
    "../canary/x",
    "a/../../canary/x",
    "/../canary/x",
    "./../canary/x",
    "../../../../../../tmp/evil-corten",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_with_dots(arena, name):
    assert isinstance(arena(tar((name, b"evil"))), BadArchive)
    assert isinstance(arena(tar(directory(name))), BadArchive)


@pytest.mark.parametrize("name", ESCAPES)
def test_hard_links_with_dots(arena, name):
    assert isinstance(arena(tar(hard_link("l", name))), BadArchive)


def test_absolute_names_are_inside(arena):
    assert arena(tar(("/etc/passwd", b"evil"))) is None
    assert (arena.target / "etc/passwd").read_bytes() == b"evil"


@pytest.mark.parametrize("target", ["../canary", "{canary}", "../target/../canary", "a/../../canary"])
@pytest.mark.parametrize("victim", ["x", "secret", "dir/y"])
def test_writing_through_symlinks(arena, target, victim):
    link = symlink("link", target.format(canary=arena.canary))
    arena(tar(link, (f"link/{victim}", b"evil")))
    arena(tar(link, directory("link"), (f"link/{victim}", b"evil")))
    arena(tar(link, directory("link/dir", 0o777, uid=7)))


def test_symlinks_to_files(arena):
    secret = str(arena.canary / "secret")
    arena(tar(symlink("f", secret), ("f", b"evil")))
    assert (arena.target / "f").read_bytes() == b"evil"
    arena(tar(symlink("g", secret), TarEntry(b"g", CHARACTER, 0o666, major=1, minor=3)))
    arena(tar(symlink("h", "../canary/dir"), TarEntry(b"h", DIRECTORY, 0o777, uid=7, mtime_ns=5)))


def test_hard_links_to_what_a_symlink_shows(arena):
    secret = str(arena.canary / "secret")
    arena(tar(symlink("s", secret), hard_link("h", "s"), ("h", b"evil")))
    arena(tar(symlink("d", str(arena.canary)), hard_link("h2", "d/secret"), ("h2", b"evil")))
    arena(tar(symlink("d", "../canary"), hard_link("h3", "d/secret")))


def test_hard_link_to_another_layers_file(arena):
    """Only this layer's own files can be linked to."""
    assert isinstance(arena(tar(hard_link("bin/sh", "etc/passwd"))), FileNotFoundError)


@pytest.mark.parametrize(
    "name",
    [".wh...", ".wh..", ".wh.", "../.wh.canary", "a/../../canary/.wh.secret", "../canary/.wh..wh..opq"],
)
def test_whiteouts_above_the_root(arena, name):
    arena(tar((name, b"")))


def test_whiteouts_through_symlinks(arena):
    link = symlink("link", str(arena.canary))
    arena(tar(link, ("link/.wh.secret", b"")))
    arena(tar(link, ("link/.wh..wh..opq", b"")))
    assert "trusted.overlay.opaque" not in os.listxattr(arena.canary)


def test_devices_stay_inside_the_layer(arena):
    arena(tar(symlink("dev", str(arena.canary)), TarEntry(b"dev/sda", BLOCK_DEVICE, 0o666, major=8, minor=0)))
    arena(tar(symlink("p", str(arena.canary / "pipe")), TarEntry(b"p", FIFO, 0o666)))


def test_overlayfs_marks_cannot_be_smuggled(arena):
    """trusted.overlay.redirect would show a directory of another layer."""
    evil = {
        b"trusted.overlay.redirect": b"/etc",
        b"trusted.overlay.metacopy": b"",
        b"user.overlay.opaque": b"y",
        b"security.selinux": b"unconfined",
        b"user.fine": b"1",
    }
    arena(tar(directory("d", xattrs=evil), (TarEntry(b"f", xattrs=evil), b"")))
    for name in ("d", "f"):
        assert os.listxattr(arena.target / name) == ["user.fine"]


def test_magic_links_are_refused(arena):
    """/proc of the host is not reachable, but a bind mount might be: no link of the kernel's is followed."""
    arena(tar(symlink("p", "/proc/self/root"), ("p/tmp/evil-corten", b"evil")))
    arena(tar(symlink("q", "/proc/self/cwd/../canary"), ("q/x", b"evil")))
    assert not os.path.exists("/tmp/evil-corten")


@pytest.mark.parametrize(
    "member",
    [
        TarEntry(b"a\0b", SYMLINK, linkname=b"x"),
        TarEntry(b"n" * 65536),
        TarEntry(b"/".join([b"d"] * 30000)),
        TarEntry(b"l", SYMLINK, linkname=b"x" * 65536),
        TarEntry(b"x", xattrs={b"user.big": b"v" * 100_000}),
        TarEntry(b"t", b"Z"),
        TarEntry(b"u", uid=1 << 40),
        TarEntry(b"v", gid=0xFFFFFFFF),
        TarEntry(b"c", CHARACTER, major=5000, minor=1 << 21),
        TarEntry(b"m", mtime_ns=(1 << 40) * 1_000_000_000 * 1000),
    ],
)
def test_entries_that_no_kernel_takes(arena, member):
    error = arena(tar(member))
    assert error is None or isinstance(error, (BadArchive, OSError))


def test_file_replaced_by_directory_of_links(arena):
    """The cached parent must not outlive what it was resolved through."""
    arena(
        tar(
            directory("a"), ("a/one", b"1"),
            directory("other"), ("a", b"file"), symlink("a", str(arena.canary)), ("a/two", b"evil"),
        )
    )  # fmt: skip


def test_symlink_loops(arena):
    assert isinstance(arena(tar(symlink("a", "b"), symlink("b", "a"), ("a/x", b""))), OSError)


def test_duplicate_entries_by_the_thousand(arena):
    assert arena(tar(*(("same", b"%d" % i) for i in range(5000)))) is None
    assert (arena.target / "same").read_bytes() == b"4999"


def test_bombs_cost_neither_memory_nor_disk(arena):
    big = 300 << 20
    head = tar((TarEntry(b"zeros"), b""))[:512]
    from corten.snapshots.tar_writer import header_of

    head = header_of(TarEntry(b"zeros", size=big))
    bomb = gzip.compress(head + bytes(big), 9)
    assert len(bomb) < 400_000
    limits = Limits(max_bytes=50 << 20)
    tracemalloc.start()
    error = arena(decompressed([bomb], limits))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(error, TooLarge)
    assert peak < 20 << 20
    assert os.stat(arena.target / "zeros").st_size <= 50 << 20


def test_headers_that_promise_more_than_there_is(arena):
    from corten.snapshots.tar_writer import header_of

    error = arena(header_of(TarEntry(b"f", size=1 << 50)) + bytes(1024))
    assert isinstance(error, BadArchive)


names = st.sampled_from(
    [
        "a",
        "b",
        "a/b",
        "a/b/c",
        "../x",
        "/a",
        "a/../b",
        "a/../../canary/y",
        "./",
        ".wh.a",
        "a/.wh.b",
        "a/.wh..wh..opq",
        ".wh..wh..opq",
    ]
)
targets = st.sampled_from(["a", "b", "../canary", "/", "..", "../canary/secret", "a/b", "/canary", "."])
entries = st.one_of(
    st.tuples(names, st.just(b"data")),
    st.builds(directory, names),
    st.builds(symlink, names, targets),
    st.builds(hard_link, names, targets),
    st.builds(lambda n: TarEntry(n.encode(), CHARACTER, 0o600, major=1, minor=3), names),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(entries, max_size=8), st.booleans())
def test_no_sequence_of_entries_gets_out(tmp_path_factory, members, whiteouts):
    root = tmp_path_factory.mktemp("arena", numbered=True)
    canary, target = root / "canary", root / "target"
    canary.mkdir()
    (canary / "secret").write_text("secret")
    target.mkdir()
    before = tree(canary)
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Extractor(fd, ExtractOptions(whiteouts=whiteouts)) as extractor:
            extractor.extract(TarReader([tar(*members)]))
    except (BadArchive, OSError):
        pass
    finally:
        os.close(fd)
    assert tree(canary) == before
    assert sorted(os.listdir(root)) == ["canary", "target"]


def test_random_damage(arena):
    chooser = random.Random(7)
    good = tar(directory("d"), ("d/f", b"x" * 3000), symlink("s", "d"), hard_link("h", "d/f"))
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chooser.randrange(1, 4)):
            data[chooser.randrange(len(data))] = chooser.randrange(256)
        arena(bytes(data))
