"""eStargz, read by somebody else: gzip, GNU tar, and a reader of the table that knows the specification only."""

import base64
import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
import zlib

import pytest

from corten.snapshots import estargz
from corten.snapshots.errors import BadArchive
from corten.snapshots.estargz import Stargz, write_stargz


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.mtime = kind, 1_000_000_000
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def written(data: bytes) -> tuple[bytes, Stargz]:
    pieces: list[bytes] = []
    about = write_stargz([data[i : i + 1000] for i in range(0, len(data), 1000)], pieces.append)
    return b"".join(pieces), about


def table_of(blob: bytes) -> tuple[int, bytes]:
    """By the specification: the footer says where the table's member begins."""
    footer = blob[-51:]
    assert footer[:4] == b"\x1f\x8b\x08\x04" and footer[12:16] == b"SG\x16\x00"
    found = re.fullmatch(rb"([0-9a-f]{16})STARGZ", footer[16:38])
    offset = int(found[1], 16)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob[offset:-51])), mode="r:") as archive:
        return offset, archive.extractfile("stargz.index.json").read()


def content_at(blob: bytes, offset: int, size: int) -> bytes:
    return zlib.decompressobj(31).decompress(blob[offset:], size)


SAMPLE = tar(
    (member("d/", tarfile.DIRTYPE, mode=0o755), b""),
    (member("d/f", mode=0o640, uid=7, gid=8, pax_headers={"SCHILY.xattr.user.a": "v"}), b"data"),
    (member("empty"), b""),
    (member("l", tarfile.SYMTYPE, linkname="d/f"), b""),
    (member("h", tarfile.LNKTYPE, linkname="d/f"), b""),
    (member("c", tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
    (member(".wh.gone"), b""),
    (member("long/" + "n" * 200), b"x" * 2000),
)


def test_digests_are_those_of_what_was_written():
    blob, about = written(SAMPLE)
    assert about.digest == "sha256:" + hashlib.sha256(blob).hexdigest() and about.length == len(blob)
    plain = gzip.decompress(blob)
    assert about.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert about.uncompressed == len(plain)
    assert about.table == "sha256:" + hashlib.sha256(table_of(blob)[1]).hexdigest()
    assert written(SAMPLE) == (blob, about)


def test_gnu_tar_reads_it_as_a_layer(tmp_path):
    (tmp_path / "layer.tgz").write_bytes(written(SAMPLE)[0])
    listed = subprocess.run(
        ["tar", "-tzf", tmp_path / "layer.tgz"], capture_output=True, text=True, check=True
    )
    assert set(listed.stdout.split()) >= {
        "d/",
        "d/f",
        "empty",
        "l",
        "h",
        "c",
        ".wh.gone",
        "stargz.index.json",
    }
    piped = subprocess.run(
        ["sh", "-c", f"zcat {tmp_path}/layer.tgz | tar -xO d/f"], capture_output=True, check=True
    )
    assert piped.stdout == b"data"


def test_every_file_can_be_read_by_the_table_alone():
    blob, _ = written(SAMPLE)
    entries = json.loads(table_of(blob)[1])["entries"]
    found = {entry["name"]: entry for entry in entries}
    assert found["d"]["type"] == "dir" and found["d"]["mode"] == 0o755
    assert found["l"] == {**found["l"], "type": "symlink", "linkName": "d/f"}
    assert found["h"] == {**found["h"], "type": "hardlink", "linkName": "d/f"}
    assert (found["c"]["devMajor"], found["c"]["devMinor"]) == (1, 3)
    file = found["d/f"]
    assert base64.b64decode(file["xattrs"]["user.a"]) == b"v"
    assert (file["mode"], file["uid"], file["gid"]) == (0o640, 7, 8)
    assert content_at(blob, file["offset"], file["size"]) == b"data"
    assert file["digest"] == file["chunkDigest"] == "sha256:" + hashlib.sha256(b"data").hexdigest()
    assert found[".no.prefetch.landmark"]["size"] == 1


def test_owner_and_mode_of_the_root_stay():
    blob, _ = written(tar((member("./", tarfile.DIRTYPE, mode=0o750, uid=7), b""), (member("./a"), b"1")))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as archive:
        (root,) = (each for each in archive if each.name in (".", ""))
    assert (root.mode, root.uid) == (0o750, 7)
    (told,) = (each for each in json.loads(table_of(blob)[1])["entries"] if each["name"] == "./")
    assert (told["type"], told["mode"], told["uid"]) == ("dir", 0o750, 7)


def test_large_files_come_in_chunks(monkeypatch):
    monkeypatch.setattr(estargz, "_CHUNK", 1000)
    data = bytes(range(256)) * 10
    blob, _ = written(tar((member("big"), data)))
    chunks = [entry for entry in json.loads(table_of(blob)[1])["entries"] if entry["name"] == "big"]
    assert [chunk["type"] for chunk in chunks] == ["reg", "chunk", "chunk"]
    read = b"".join(content_at(blob, chunk["offset"], chunk["chunkSize"]) for chunk in chunks)
    assert read == data


def test_a_table_that_was_there_is_not_believed():
    blob, _ = written(tar((member("stargz.index.json"), b'{"version":9}'), (member("./a"), b"1")))
    assert [entry["name"] for entry in json.loads(table_of(blob)[1])["entries"]] == [
        ".no.prefetch.landmark",
        "a",
    ]


@pytest.mark.parametrize("data", [b"", b"\0" * 1024])
def test_an_empty_layer(data):
    blob, _ = written(data)
    assert len(json.loads(table_of(blob)[1])["entries"]) == 1


def test_what_has_no_form_is_refused():
    with pytest.raises(BadArchive):
        written(tar((member("odd", b"Z"), b"")))
