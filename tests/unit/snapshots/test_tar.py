"""Our reader against other writers, our writer against other readers, and both against each other."""

import io
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.snapshots.errors import BadArchive
from corten.snapshots.tar_reader import (
    CHARACTER,
    DIRECTORY,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    TarEntry,
    TarReader,
    normalized_name,
    parse_pax,
)
from corten.snapshots.tar_writer import TarWriter


def written(*entries):
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry in entries:
        if isinstance(entry, tuple):
            writer.add_bytes(*entry)
        else:
            writer.add(entry)
    writer.close()
    return out.getvalue()


def read(data, chunk=1000):
    reader = TarReader(data[i : i + chunk] for i in range(0, len(data), chunk))
    return [(entry, b"".join(reader.content())) for entry in reader]


LONG = b"d" * 90 + b"/" + b"e" * 90 + b"/" + b"f" * 120


def test_round_trip_of_every_kind():
    entries = [
        TarEntry(b"dir", DIRECTORY, 0o1755, 1, 2, mtime_ns=5_000_000_000),
        TarEntry(LONG, SYMLINK, 0o777, linkname=b"x" * 300),
        TarEntry(b"dev", CHARACTER, 0o600, major=1, minor=3),
        TarEntry(b"link", HARD_LINK, 0o644, linkname=b"file"),
        TarEntry(
            b"huge-ids", SYMLINK, 0o777, uid=4294967294, gid=2097152, linkname=b"t", mtime_ns=-3_000_000_000
        ),
        TarEntry(b"caps", REGULAR, 0o4755, xattrs={b"security.capability": b"\0\1\2=\n", b"user.x": b""}),
    ]
    for (entry, content), original in zip(read(written(*entries)), entries, strict=True):
        assert content == b""
        entry.name = entry.name.rstrip(b"/")
        assert entry == original


def test_same_entries_same_bytes():
    entry = TarEntry(b"a", mtime_ns=1_999_999_999)
    assert written((entry, b"x")) == written((TarEntry(b"a", mtime_ns=1_000_000_000), b"x"))


def test_other_readers_understand_what_we_write(tmp_path):
    data = written(
        TarEntry(b"d", DIRECTORY, 0o755),
        (TarEntry(b"d/" + b"n" * 200, mode=0o640, mtime_ns=7_000_000_000), b"hello"),
        TarEntry(LONG, SYMLINK, linkname=b"y" * 200),
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as t:
        assert t.getnames() == ["d", "d/" + "n" * 200, LONG.decode()]
        assert t.extractfile("d/" + "n" * 200).read() == b"hello"
        assert t.getmember(LONG.decode()).linkname == "y" * 200
    listing = (
        subprocess.run(["tar", "-tf", "-"], input=data, capture_output=True, check=True)
        .stdout.decode()
        .split()
    )
    assert listing == ["d/", "d/" + "n" * 200, LONG.decode()]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_python_writes(form):
    out = io.BytesIO()
    name = "a/" * 40 + "x" * 60
    with tarfile.open(fileobj=out, mode="w", format=form) as t:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.uid, info.mtime = 700, 0o4711, 1234, 99
        t.addfile(info, io.BytesIO(b"q" * 700))
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.LNKTYPE, "y" * 90
        t.addfile(link)
    (first, content), (second, _) = read(out.getvalue(), 333)
    assert (first.name.decode(), first.mode, first.uid, first.mtime_ns) == (
        name,
        0o4711,
        1234,
        99_000_000_000,
    )
    assert content == b"q" * 700
    assert (second.type, second.linkname) == (HARD_LINK, b"y" * 90)


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=posix", "--sparse-version=1.0"],
        ["--format=posix", "--sparse-version=0.1"],
    ],
)
def test_sparse_files_of_gnu_tar(tmp_path, options):
    with open(tmp_path / "holes", "wb") as f:
        f.seek(1 << 20)
        f.write(b"middle")
        f.truncate(5 << 20)
    data = subprocess.run(
        ["tar", "-S", *options, "-C", str(tmp_path), "-cf", "-", "holes"], capture_output=True, check=True
    ).stdout
    [(entry, content)] = read(data)
    assert entry.name == b"holes"
    assert entry.size == 5 << 20
    assert len(content) < 1 << 20
    whole = bytearray(entry.size)
    at = 0
    for offset, length in entry.sparse:
        whole[offset : offset + length] = content[at : at + length]
        at += length
    assert bytes(whole) == (tmp_path / "holes").read_bytes()


def test_padding_after_the_end_is_consumed():
    data = written((TarEntry(b"a"), b"x")) + bytes(10240)
    consumed = []

    def chunks():
        for i in range(0, len(data), 512):
            consumed.append(i)
            yield data[i : i + 512]

    list(TarReader(chunks()))
    assert len(consumed) == len(data) // 512


@pytest.mark.parametrize("cut", [1, 511, 513, 1000, 1300])
def test_truncated_anywhere_is_an_error(cut):
    data = written((TarEntry(b"a"), b"x" * 700))
    with pytest.raises(BadArchive, match="unexpected EOF"):
        read(data[:cut])


def corrupted(at, value):
    data = bytearray(written((TarEntry(b"a"), b"x" * 700)))
    data[at : at + len(value)] = value
    block = bytes(data[:148]) + b" " * 8 + bytes(data[156:512])
    data[148:156] = b"%06o\0 " % sum(block)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 512,
        corrupted(124, b"\xff" * 12),  # size -1
        corrupted(124, b"\x80" + b"\xff" * 11),  # size 2**88
        corrupted(124, b"99999999999\0"),  # no octal
        corrupted(124, b"7777777777x\0"),
    ],
)
def test_bad_headers_are_refused(data):
    with pytest.raises(BadArchive):
        read(data)


@pytest.mark.parametrize(
    "data", [b"0 a=b\n", b"5 a=b\n", b"99 a=b\n", b"6 a=bc", b"x a=b\n", b"6 =abc\n"[:6], b"-6 a=b\n"]
)
def test_bad_pax_records_are_refused(data):
    with pytest.raises(BadArchive):
        parse_pax(data)


def test_huge_extension_header_is_refused():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as t:
        t.addfile(tarfile.TarInfo("n" * (2 << 20)))
    with pytest.raises(BadArchive, match="too long"):
        read(out.getvalue())


@pytest.mark.parametrize(
    ("name", "result"),
    [
        (b"./a//b/./c/", b"a/b/c"),
        (b"/etc/x", b"etc/x"),
        (b"a/../b", b"b"),
        (b"./", b""),
        (b"...", b"..."),
        (b"a..b", b"a..b"),
    ],
)
def test_names_are_made_relative(name, result):
    assert normalized_name(name) == result


@pytest.mark.parametrize("name", [b"..", b"../x", b"a/../../x", b"/../x", b"a\0b", b"./.."])
def test_names_that_lead_out_are_refused(name):
    with pytest.raises(BadArchive):
        normalized_name(name)


@settings(max_examples=300)
@given(st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(data):
    try:
        read(data)
    except BadArchive:
        pass


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1500), st.integers(0, 255))
def test_any_flipped_byte_is_read_or_refused(at, value):
    data = bytearray(written(TarEntry(LONG, SYMLINK, linkname=b"z" * 200), (TarEntry(b"a"), b"x" * 700)))
    data[at] = value
    try:
        read(bytes(data))
    except BadArchive:
        pass


names = st.binary(min_size=1, max_size=300).map(lambda b: b.replace(b"\0", b"_").replace(b"/", b"-"))


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(names, st.binary(max_size=1500), st.integers(0, 0o7777), st.integers(0, (1 << 32) - 2)),
        max_size=5,
    )
)
def test_round_trip_of_files(files):
    data = written(*((TarEntry(n, mode=m, uid=u), c) for n, c, m, u in files))
    back = read(data, 700)
    assert [(e.name, c, e.mode, e.uid) for e, c in back] == files
