"""`cp`, `export` and `diff` of containers that fight back: archives and links that want to lead out.

CVE-2018-15664 (a link swapped while `cp` works), CVE-2019-14271 (libraries of the image), CVE-2021-41089.
"""

import http.client
import io
import os
import socket
import tarfile
import threading
import time

import pytest

from corten.snapshots.tar_reader import CHARACTER, TarEntry
from imagefiles import directory, hard_link, symlink, tar

_RACE_S = 3.0


def archive(attacker, method, container, path, body=None, **flags):
    query = "&".join([f"path={path}", *(f"{name}={value}" for name, value in flags.items())])
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(attacker.engine.socket))
    try:
        connection.request(method, f"/containers/{container}/archive?{query}", body)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        except http.client.IncompleteRead as cut:
            return answer.status, cut.partial
    finally:
        connection.close()


@pytest.fixture
def canary(tmp_path):
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("secret of the host")
    before = os.stat(canary).st_mtime_ns
    yield canary
    assert os.listdir(canary) == ["file"]
    assert (canary / "file").read_text() == "secret of the host"
    assert os.stat(canary).st_mtime_ns == before


@pytest.fixture
def swapping(attacker, tool, canary):
    """A container in which /flip is a directory one moment and a link to the canary the next."""
    image = attacker.image(
        tool,
        directory("flip"),
        ("flip/file", b"inside"),
        symlink("link", str(canary)),
        directory(f"w{canary}"),
    )
    container = attacker.create(image, "tool", "swap", "/flip", "/link")
    assert attacker.start(container)[0] == 204
    return container


def test_links_that_change_while_we_copy(attacker, swapping):
    deadline = time.monotonic() + _RACE_S
    upload = tar(("file", b"evil"), directory("sub"), ("sub/file", b"evil"), ("flip/file", b"evil"))
    counts = {"read": 0, "written": 0}
    seen = []

    def read():
        while time.monotonic() < deadline:
            for path in ("/flip/file", "/flip", "/flip/", "/flip/.", "/"):
                status, data = archive(attacker, "GET", swapping, path)
                counts["read"] += status == 200
                seen.append(b"secret of the host" in data)
            connection = attacker.engine.request("GET", f"/containers/{swapping}/changes")
            seen.append(b"canary/file" in connection[1])

    def write():
        while time.monotonic() < deadline:
            for path in ("/flip", "/flip/", "/"):
                status, _ = archive(attacker, "PUT", swapping, path, upload)
                counts["written"] += status == 200

    threads = [threading.Thread(target=work) for work in (read, write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts["read"] > 5
    assert counts["written"] > 5
    assert not any(seen)


@pytest.mark.parametrize("running", [True, False])
def test_links_stay_inside(attacker, canary, plain, running):
    container = attacker.create(plain, "sleep", "100")
    if running:
        attacker.start(container)
    links = tar(
        symlink("abs", str(canary)), symlink("rel", "../" * 20 + str(canary)[1:]), symlink("self", "/proc/self/root"),
        symlink("fd", "/proc/self/fd/3"),
    )  # fmt: skip
    assert archive(attacker, "PUT", container, "/", links)[0] == 200
    for name in ("abs", "rel", "self", "fd"):
        assert archive(attacker, "GET", container, f"/{name}/file")[0] in (400, 404)
        assert archive(attacker, "PUT", container, f"/{name}", tar(("file", b"evil")))[0] in (400, 404)
    # An archive's own links lead through the container, never through the host.
    status, _ = archive(
        attacker, "PUT", container, "/tmp", tar(symlink("l", str(canary)), ("l/file", b"evil"))
    )
    assert status in (200, 400, 404)
    for bad in ("../x", "a/../../x"):
        assert archive(attacker, "PUT", container, "/tmp", tar((bad, b"evil")))[0] == 400
    assert archive(attacker, "PUT", container, "/tmp", tar(hard_link("h", "../../x")))[0] == 400


def test_archives_cannot_speak_to_overlayfs(attacker, plain):
    container = attacker.create(plain, "sleep", "100")
    xattrs = {b"trusted.overlay.redirect": b"/etc", b"trusted.overlay.opaque": b"y", b"user.fine": b"1"}
    assert archive(attacker, "PUT", container, "/", tar(TarEntry(b"d", b"5", 0o755, xattrs=xattrs)))[0] == 200
    inner = attacker.upper(container) / "d"
    assert "user.fine" in os.listxattr(inner)
    assert "trusted.overlay.redirect" not in os.listxattr(inner)
    whiteout = TarEntry(b"bin", CHARACTER, 0o600)
    assert archive(attacker, "PUT", container, "/", tar(whiteout))[0] == 500  # EPERM of the kernel
    assert archive(attacker, "GET", container, "/etc/passwd")[0] == 200


def test_libraries_of_the_image_are_not_ours(attacker, canary):
    """What a naive chroot would load from there (CVE-2019-14271) is never looked at."""
    trap = (TarEntry(b"lib/x86_64-linux-gnu/libnss_files.so.2", mode=0o755), b"not a library")
    container = attacker.create(
        attacker.image(directory("lib"), directory("lib/x86_64-linux-gnu"), trap), "sleep", "9"
    )
    attacker.start(container)
    assert archive(attacker, "PUT", container, "/tmp", tar(("x", b"1")), copyUIDGID=1)[0] == 200
    status, data = archive(attacker, "GET", container, "/tmp/x")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(data)) as tar_file:
        assert tar_file.getnames() == ["x"]


def test_trees_deeper_than_recursion(attacker, tool):
    container = attacker.create(attacker.image(tool), "sh", "-c", "cd /tmp && tool deep 3000")
    attacker.start(container)
    assert attacker.wait(container) == 0
    for path in ("/tmp", "/"):
        status, data = archive(attacker, "GET", container, path)
        assert status in (200, 400)
        assert data
    for what in ("export", "changes"):
        assert attacker.engine.request("GET", f"/containers/{container}/{what}")[0] == 200
    attacker.remove(container)
    deadline = time.monotonic() + 20
    while os.listdir(attacker.engine.root / "tmp") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert os.listdir(attacker.engine.root / "tmp") == []
