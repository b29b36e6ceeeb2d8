"""File systems made to fool whoever lists what is in them."""

import json
import os
import sqlite3
import struct
from itertools import chain
from pathlib import Path

import pytest

from corten.builder.attest.sbom import languages as languages_module
from corten.builder.attest.sbom import packages as packages_module
from corten.builder.attest.sbom.distributions import apk, dpkg, os_release
from corten.builder.attest.sbom.languages import languages
from corten.builder.attest.sbom.packages import Found, Package, TooMuch
from corten.builder.attest.sbom.rpm import rpm
from corten.builder.attest.sbom.spdx import document
from corten.errors import InvalidParameter


def scan(root: Path) -> list[Package]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = Found()
        for package in chain(dpkg(fd), apk(fd), rpm(fd), languages(fd)):
            found.add(package)
        raw = document("sbom", found.sorted(), os_release(fd), 0)
        assert json.loads(raw)["SPDXID"] == "SPDXRef-DOCUMENT"
        return found.sorted()
    finally:
        os.close(fd)


def write(root: Path, path: str, data: str | bytes) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


def header(tags: dict[int, str]) -> bytes:
    store = b"".join(text.encode() + b"\0" for text in tags.values())
    index, offset = b"", 0
    for tag, text in tags.items():
        index += struct.pack(">IIII", tag, 6, offset, 1)
        offset += len(text.encode()) + 1
    return struct.pack(">II", len(tags), len(store)) + index + store


def database(root: Path, blobs: list[bytes]) -> Path:
    path = root / "var/lib/rpm/rpmdb.sqlite"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
        connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in blobs])
    connection.close()
    return path


def test_every_kind_of_package_is_found(tmp_path):
    write(tmp_path, "etc/os-release", 'ID=debian\nVERSION_ID="12"\n')
    write(tmp_path, "var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nVersion: 1:2-3\n")
    write(tmp_path, "var/lib/dpkg/status.d/base", "Package: b\nVersion: 2\n")
    write(tmp_path, "lib/apk/db/installed", "P:musl\nV:1.2-r3\nA:x86_64\nL:MIT\n\nP:z\nV:1\n")
    write(
        tmp_path,
        "usr/lib/python3/dist-packages/Flask_X-2.dist-info/METADATA",
        "Name: Flask_X\nVersion: 2\n\nbody",
    )
    write(tmp_path, "app/node_modules/@s/n/package.json", '{"name":"@s/n","version":"4.0.0","license":"MIT"}')
    write(tmp_path, "app/node_modules/n/lib/package.json", '{"name":"inner","version":"1"}')
    lock = {"lockfileVersion": 3, "packages": {"": {}, "node_modules/l": {"version": "5.0.0"}}}
    write(tmp_path, "app/package-lock.json", json.dumps(lock))
    database(tmp_path, [header({1000: "bash", 1001: "5.2", 1002: "1.el9", 1014: "GPLv3+"})])
    found = {(each.kind, each.name, each.version) for each in scan(tmp_path)}
    assert found == {
        ("deb", "a", "1:2-3"),
        ("deb", "b", "2"),
        ("apk", "musl", "1.2-r3"),
        ("apk", "z", "1"),
        ("pypi", "flask-x", "2"),
        ("npm", "@s/n", "4.0.0"),
        ("npm", "l", "5.0.0"),
        ("rpm", "bash", "5.2-1.el9"),
    }


def test_links_lead_nowhere_outside(tmp_path):
    outside = write(tmp_path, "outside/status", "Package: host\nStatus: install ok installed\nVersion: 1\n")
    root = tmp_path / "root"
    for name in ("var/lib/dpkg/status", "var/lib/dpkg/status.d/x", "lib/apk/db/installed"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(outside)
    (root / "m.dist-info").mkdir()
    (root / "m.dist-info" / "METADATA").symlink_to(write(tmp_path, "outside/m", "Name: host\nVersion: 1\n"))
    (root / "d").symlink_to(tmp_path / "outside")
    (root / "up").symlink_to("../../../..")
    assert scan(root) == []


def test_fifos_and_devices_are_not_waited_for(tmp_path):
    for name in (
        "var/lib/dpkg/status",
        "lib/apk/db/installed",
        "var/lib/rpm/rpmdb.sqlite",
        "x.dist-info/METADATA",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tmp_path / name)
    assert scan(tmp_path) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 1000,
        b"Package:\n" * 50,
        b":\n::\n",
        b"Package: x",
        b"\xff\xfe\xfd: \xff\n",
        b"\n" * 10_000,
    ],
)
def test_nonsense_is_no_package(tmp_path, data):
    for name in (
        "var/lib/dpkg/status",
        "lib/apk/db/installed",
        "etc/os-release",
        "p.egg-info",
        "package-lock.json",
    ):
        write(tmp_path, name, data)
    write(tmp_path, "node_modules/x/package.json", data)
    assert scan(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"packages":[1,2]}',
        '{"packages":{"node_modules/x":5,"node_modules/y":{"version":{}}}}',
        '{"dependencies":{"a":{"version":"1","dependencies":[]}}}',
        '{"name":1,"version":[]}',
        "null",
    ],
)
def test_broken_documents_are_passed_over(tmp_path, text):
    write(tmp_path, "package-lock.json", text)
    write(tmp_path, "node_modules/x/package.json", text)
    assert all(each.name == "a" for each in scan(tmp_path))


def test_control_characters_do_not_get_into_the_document(tmp_path):
    write(
        tmp_path, "var/lib/dpkg/status", "Package: a\x1b[31m\nStatus: install ok installed\nVersion: 1\x00\n"
    )
    assert [(each.name, each.version) for each in scan(tmp_path)] == [("a[31m", "1")]


def test_too_much_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(packages_module, "MAX_PACKAGES", 10)
    text = "".join(f"Package: p{n}\nStatus: install ok installed\nVersion: 1\n\n" for n in range(20))
    write(tmp_path, "var/lib/dpkg/status", text)
    with pytest.raises(TooMuch):
        scan(tmp_path)
    monkeypatch.setattr(languages_module, "_MAX_ENTRIES", 3)
    (tmp_path / "var/lib/dpkg/status").unlink()
    for n in range(5):
        write(tmp_path, f"f{n}", "")
    with pytest.raises(TooMuch):
        scan(tmp_path)


def test_a_sparse_file_is_not_read_to_its_end(tmp_path):
    with write(tmp_path, "var/lib/dpkg/status", "").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(TooMuch):
        scan(tmp_path)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\xff" * 8,
        struct.pack(">II", 1, 4) + struct.pack(">IIII", 1000, 6, 2**31, 1) + b"abcd",
        struct.pack(">II", 1, 4) + struct.pack(">IIII", 1000, 6, 0, 1) + b"abcd",
        struct.pack(">II", 2**31, 4),
        header({1000: "x"})[:-1],
    ],
)
def test_broken_rpm_headers_are_passed_over(tmp_path, blob):
    database(tmp_path, [blob, header({1000: "good", 1001: "1"})])
    assert [each.name for each in scan(tmp_path)] == ["good"]


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE VIEW Packages AS SELECT 1 AS hnum, writefile('/tmp/owned', 'x') AS blob",
        "CREATE VIEW Packages AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x AS hnum, x AS blob FROM c",
        "CREATE VIEW Packages AS SELECT 1 AS hnum, load_extension('/x') AS blob",
        "CREATE TABLE Other (a)",
    ],
)
def test_an_rpm_database_with_a_schema_of_its_own_does_nothing(tmp_path, schema):
    path = tmp_path / "var/lib/rpm/rpmdb.sqlite"
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute(schema)
    connection.close()
    with pytest.raises(InvalidParameter):
        scan(tmp_path)


@pytest.mark.parametrize("data", [b"not a database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_what_is_no_database_is_refused(tmp_path, data):
    write(tmp_path, "var/lib/rpm/rpmdb.sqlite", data)
    with pytest.raises(InvalidParameter):
        scan(tmp_path)


@pytest.mark.parametrize("name", ["Packages", "Packages.db"])
def test_older_rpm_databases_are_refused(tmp_path, name):
    write(tmp_path, f"var/lib/rpm/{name}", b"\0" * 100)
    with pytest.raises(InvalidParameter, match="only rpm itself"):
        scan(tmp_path)
