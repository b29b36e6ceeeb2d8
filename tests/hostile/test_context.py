"""Contexts out to do harm: whatever is in the tar, nothing outside of the build's own directory changes."""

import asyncio
import gzip
import io
import os
import tarfile

import pytest

from corten.builder.context import receive
from corten.builder.session import Session
from corten.errors import CortenError
from corten.images import ImageStore
from corten.metadata import Ledger

pytestmark = pytest.mark.root


class Receiver:
    """Receives contexts below `root`."""

    def __init__(self, root):
        self.root = root
        self.ledger = Ledger(str(root / "meta.db"))
        self.store = ImageStore(str(root), self.ledger)

    def receive(self, data, dockerfile="Dockerfile", look=lambda path: None):
        async def body():
            for start in range(0, len(data), 8192):
                yield data[start : start + 8192]

        async def scenario():
            session = Session(str(self.root), self.store.layers)
            try:
                context = await receive(session, self.store.workers, body(), dockerfile=dockerfile, remote="")
                look(context.vertex.op.key)
                return context.dockerfile
            finally:
                await session.close(self.store.workers)

        return asyncio.run(scenario())


@pytest.fixture
def receiver(tmp_path):
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    made = Receiver(root)
    yield made
    made.store.close()
    made.ledger.close()
    assert [name for name in os.listdir(root / "tmp") if name.startswith("build-")] == []


def tar(*entries):
    """A tar of (name, content or TarInfo attributes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("Dockerfile", b"FROM scratch\n"), *entries):
            entry = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                for key, value in content.items():
                    setattr(entry, key, value)
                archive.addfile(entry)
    return buffer.getvalue()


def link(target):
    return {"type": tarfile.SYMTYPE, "linkname": target}


@pytest.mark.parametrize(
    "make",
    [
        lambda out: [("../../../../../../../.." + out, b"evil")],
        lambda out: [(out, b"evil")],
        lambda out: [("d", link(os.path.dirname(out))), ("d/canary", b"evil")],
        lambda out: [("d", link("../" * 20 + os.path.dirname(out)[1:])), ("d/canary", b"evil")],
        lambda out: [("l", link(out)), ("l", b"evil")],
        lambda out: [("h", {"type": tarfile.LNKTYPE, "linkname": out}), ("h", b"evil")],
        lambda out: [("h", {"type": tarfile.LNKTYPE, "linkname": "../" * 20 + out[1:]})],
        lambda out: [(".dockerignore", b"*\n"), ("d", link(os.path.dirname(out)))],
        lambda out: [(".dockerignore", b"d/*\nd/canary\n"), ("d", link(os.path.dirname(out)))],
        lambda out: [("proc", link("/proc/self/root" + os.path.dirname(out))), ("proc/canary", b"evil")],
    ],
)
def test_nothing_outside_is_written_or_removed(receiver, tmp_path, make):
    canary = tmp_path / "outside" / "canary"
    canary.parent.mkdir()
    canary.write_text("alive")
    try:
        receiver.receive(tar(*make(str(canary))))
    except CortenError:
        pass
    assert canary.read_text() == "alive"
    assert os.listdir(canary.parent) == ["canary"]


@pytest.mark.parametrize("name", ["Dockerfile", "sub/df"])
@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../../../../../../../etc/passwd", "/proc/self/environ"]
)
def test_a_dockerfile_that_is_a_link_shows_no_file_of_the_host(receiver, name, target):
    with pytest.raises(CortenError, match="Cannot locate specified Dockerfile"):
        receiver.receive(tar(("sub", {"type": tarfile.DIRTYPE, "mode": 0o755}), (name, link(target))), name)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..", "", "sub", "fifo", "a\0b"])
def test_odd_names_of_dockerfiles(receiver, name):
    entries = [("sub", {"type": tarfile.DIRTYPE}), ("fifo", {"type": tarfile.FIFOTYPE})]
    with pytest.raises((CortenError, ValueError)):
        receiver.receive(tar(*entries), name)


def test_a_dockerfile_in_the_context_is_found_through_links_inside_it(receiver):
    entries = [("d/real", b"FROM real\n"), ("link", link("/d/real"))]
    assert receiver.receive(tar(*entries), "link") == "FROM real\n"
    assert receiver.receive(tar(("dockerfile", b"x")), "./Dockerfile") == "FROM scratch\n"


def test_owners_and_setuid_bits_of_the_client_do_not_count(receiver):
    seen = []
    entry = {"uid": 1234, "gid": 1234, "mode": 0o6755}
    receiver.receive(tar(("f", entry)), look=lambda path: seen.append(os.stat(f"{path}/f")))
    assert (seen[0].st_uid, seen[0].st_gid) == (0, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no tar at all",
        b"\x1f\x8b" + b"\0" * 100,
        tar()[:700],
        gzip.compress(tar(("f", b"x" * 100_000)))[:-200],
        b"BZh9" + b"\xff" * 1000,
        b"\xfd7zXZ\0" + b"\xff" * 1000,
        b"\x28\xb5\x2f\xfd" + b"\xff" * 1000,
    ],
)
def test_broken_archives_are_refused(receiver, data):
    with pytest.raises(CortenError):
        receiver.receive(data)


def test_a_body_longer_than_the_archive_is_read_to_its_end(receiver):
    assert receiver.receive(tar() + b"\0" * 3_000_000) == "FROM scratch\n"


def test_a_body_that_breaks_off_is_an_error(receiver):
    async def broken():
        yield tar(("f", b"x" * 200_000))[:50_000]
        raise ConnectionResetError("client went away")

    async def scenario():
        session = Session(str(receiver.root), receiver.store.layers)
        try:
            await receive(session, receiver.store.workers, broken(), dockerfile="Dockerfile", remote="")
        finally:
            await session.close(receiver.store.workers)

    with pytest.raises((CortenError, ConnectionResetError)):
        asyncio.run(scenario())


def test_a_huge_dockerfile_is_refused(receiver):
    with pytest.raises(CortenError, match="larger than"):
        receiver.receive(tar(("Dockerfile", b"#" * (5 << 20))))


def test_deep_trees_are_no_harm(receiver):
    deep = "/".join(["d"] * 1000)
    assert receiver.receive(tar((deep + "/f", b"x"), (".dockerignore", b"**/f\n"))) == "FROM scratch\n"
