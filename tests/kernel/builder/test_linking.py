"""COPY of a directory whose files may be shared: by hard links, but nothing shared is ever written to."""

import fcntl
import hashlib
import os
import shutil
import stat
import struct
from pathlib import Path

import msgspec
import pytest

from corten.builder.graph import CopyAction
from corten.builder.treeindex import TreeIndex
from corten.errors import InvalidParameter
from corten.snapshots.jobs import tar_of
from corten.snapshots.workers import WorkerPool

pytestmark = pytest.mark.root

GET_FLAGS, SET_FLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10  # include/uapi/linux/fs.h


class Place:
    """A context, a root of two layers, and the upperdir of a step."""

    def __init__(self, top: Path, workers: WorkerPool) -> None:
        self.top = top
        self.workers = workers
        self.context = self._directory("context")
        self.lower = [self._directory("upper-layer"), self._directory("lower-layer")]
        self.upper = self._directory("upper")
        self._directory("mnt")
        self._copies = 0

    def _directory(self, name: str) -> Path:
        path = self.top / name
        path.mkdir(mode=0o755)
        return path

    def copy(self, destination: str, *sources: str, linkable: bool = True, **options: str) -> None:
        self.answer = self._run(destination, sources or ("/",), linkable, index="", **options)

    def digest(self, destination: str, *sources: str, known: TreeIndex | None = None) -> object:
        """The layer's digest as it is found when the context has an index; None if it is not.

        known: the index, if it is not to be the truth.
        """
        shutil.rmtree(self.upper)
        self._directory("upper")
        index = self.top / "index"
        index.unlink(missing_ok=True)
        (known or index_of(self.context)).save(str(index))
        answer = self._run(destination, sources or ("/",), linkable=True, index=str(index))
        return (answer["diff_id"], answer["size"]) if answer else None

    def tar(self) -> object:
        """The layer's digest by its tar."""
        fd = os.open(self.upper, os.O_RDONLY)
        try:
            return tar_of(fd, None, overlay=True)
        finally:
            os.close(fd)

    def _run(self, destination: str, sources: tuple[str, ...], linkable: bool, index: str, **options: str):
        action = CopyAction(input=1, sources=sources, destination=destination, **options)
        self._copies += 1
        params = {
            "mountpoint": str(self.top / "mnt"),
            "root": {
                "lower": [str(each) for each in self.lower],
                "upper": str(self.upper),
                "work": str(self._directory(f"work{self._copies}")),
            },
            "inputs": {"1": {"directory": str(self.context), "linkable": linkable, "index": index}},
            "actions": [msgspec.to_builtins(action)],
        }
        return self.workers.run("corten.builder.jobs:change_files", params)

    def shares(self, path: str, source: str) -> bool:
        return os.path.samestat(os.lstat(self.upper / path), os.lstat(self.context / source))


def index_of(context: Path) -> TreeIndex:
    """What is known of a context when it has been received."""
    index, firsts = TreeIndex(), {}
    for path in sorted(context.rglob("*"), key=lambda path: path.parts):
        name, status = str(path.relative_to(context)), path.lstat()
        link = os.readlink(path) if path.is_symlink() else ""
        content = b""
        if stat.S_ISREG(status.st_mode):
            link = firsts.get(status.st_ino, "")
            firsts.setdefault(status.st_ino, name)
            content = hashlib.sha256(path.read_bytes()).digest()
        facts = (status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)
        index.files[name] = ((*facts, link, ()), content)
    return index


@pytest.fixture(scope="module")
def workers():
    pool = WorkerPool()
    yield pool
    pool.close()


@pytest.fixture
def place(tmp_path, workers):
    made = Place(tmp_path, workers)
    (made.context / "sub/deep").mkdir(parents=True)
    for name in ("a", "sub/b", "sub/deep/c"):
        (made.context / name).write_text(name)
    (made.context / "link").symlink_to("sub/b")
    os.chmod(made.context / "sub/deep", 0o2750)
    os.utime(made.context / "sub", ns=(1, 1_600_000_000_000_000_000))
    return made


def test_files_are_linked_and_directories_made(place):
    place.copy("/app/")
    for name in ("a", "sub/b", "sub/deep/c", "link"):
        assert place.shares(f"app/{name}", name)
    assert stat.S_IMODE((place.upper / "app/sub/deep").stat().st_mode) == 0o2750
    assert (place.upper / "app/sub").stat().st_mtime_ns == 1_600_000_000_000_000_000
    assert not os.listxattr(place.upper / "app/sub"), "no mark of overlayfs"


@pytest.mark.parametrize("options", [{"owner": "1:2"}, {"mode": "0600"}])
def test_what_is_to_differ_is_copied(place, options):
    before = (place.context / "a").stat()
    place.copy("/app/", **options)
    assert not place.shares("app/a", "a")
    after = (place.context / "a").stat()
    assert (before.st_mode, before.st_uid, before.st_nlink) == (after.st_mode, after.st_uid, after.st_nlink)


def test_nothing_is_shared_that_is_not_said_to_be(place):
    place.copy("/app/", linkable=False)
    assert not place.shares("app/a", "a")


def test_what_the_image_has_is_merged_with(place):
    (place.lower[0] / "app/sub").mkdir(parents=True)
    (place.lower[0] / "app/sub/b").write_text("old")
    (place.lower[1] / "app").mkdir()
    (place.lower[1] / "app/kept").write_text("kept")
    os.chown(place.lower[0] / "app", 5, 6)
    (place.lower[1] / "app/link").symlink_to("/etc/passwd")
    place.copy("/app")
    assert place.shares("app/sub/deep/c", "sub/deep/c")
    assert (place.upper / "app/sub/b").read_text() == "sub/b"
    assert os.readlink(place.upper / "app/link") == "sub/b"
    assert sorted(os.listdir(place.upper / "app")) == ["a", "link", "sub"], "what stays is not copied up"
    assert (place.upper / "app").stat().st_uid == 5, "a destination that exists keeps its attributes"
    assert (place.lower[0] / "app/sub/b").read_text() == "old"


def test_a_directory_and_a_file_do_not_replace_each_other(place):
    (place.lower[0] / "app").mkdir()
    (place.lower[0] / "app/sub").write_text("a file")
    with pytest.raises(InvalidParameter, match="cannot copy to non-directory"):
        place.copy("/app")
    (place.lower[0] / "etc/a").mkdir(parents=True)
    with pytest.raises(InvalidParameter, match="cannot copy non-directory over directory"):
        place.copy("/etc")


def test_links_of_the_image_lead_nowhere_else(place, tmp_path):
    (tmp_path / "outside").mkdir()
    (place.lower[0] / "app").symlink_to(tmp_path / "outside")
    place.copy("/app/")
    assert os.listdir(tmp_path / "outside") == []
    assert place.shares(str(tmp_path / "outside").lstrip("/") + "/a", "a")


def test_a_large_file_alone_is_linked_over_what_is_there(place):
    (place.context / "large").write_bytes(bytes(2 << 20))
    (place.lower[0] / "etc").mkdir()
    (place.lower[0] / "etc/new").write_text("old")
    place.copy("/etc/new", "/large")
    assert place.shares("etc/new", "large")
    assert stat.S_ISREG((place.upper / "etc/new").lstat().st_mode)


def test_the_same_name_from_two_sources_is_that_of_the_later(place):
    (place.context / "x/f").mkdir(parents=True)
    (place.context / "y").mkdir()
    (place.context / "x/f/1").write_text("1")
    (place.context / "y/f").write_text("2")
    with pytest.raises(InvalidParameter, match="cannot copy non-directory over directory"):
        place.copy("/app/", "/x", "/y")
    (place.context / "z").mkdir()
    (place.context / "z/f").write_text("3")
    place.copy("/other/", "/y", "/z")
    assert (place.upper / "other/f").read_text() == "3"
    assert (place.context / "y/f").read_text() == "2"


def test_hard_links_stay_what_they_are(place):
    os.link(place.context / "a", place.context / "sub/again")
    place.copy("/app/")
    assert place.shares("app/a", "a")
    assert place.shares("app/sub/again", "a")
    place.copy("/copied/", owner="1:1")
    assert os.path.samestat(os.stat(place.upper / "copied/a"), os.stat(place.upper / "copied/sub/again"))


@pytest.mark.parametrize("destination", ["/", "/app/", "/srv/deep/er/"])
def test_the_digest_needs_only_what_has_changed(place, destination):
    (place.context / "sub.txt").write_text("between sub and sub/ in another order")
    (place.context / "large").write_bytes(b"x" * 200_000)
    os.mkfifo(place.context / "sub/pipe")
    assert place.digest(destination) == place.tar()
    recorded = (place.top / "index.blocks").stat().st_size
    (place.context / "a").unlink()
    (place.context / "a").write_text("other")
    (place.context / "new").write_text("new")
    (place.context / "sub/b").unlink()
    os.chmod(place.context / "sub/deep", 0o711)
    assert place.digest(destination) == place.tar()
    added = (place.top / "index.blocks").stat().st_size - recorded
    assert 0 < added <= 8 * 512, "the others' blocks were there"
    assert place.digest(destination) == place.tar()


def test_another_place_or_source_has_a_digest_of_its_own(place):
    for destination, source in (("/app/", "/"), ("/other/", "/"), ("/other/", "/sub"), ("/app/", "/")):
        assert place.digest(destination, source) == place.tar()


def test_a_record_that_a_crash_has_spoilt_does_no_harm(place):
    place.digest("/app/")
    (place.context / "a").unlink()
    (place.context / "a").write_text("other")
    with (place.top / "index.blocks").open("ab") as blocks:
        blocks.write(b"half of a block")
    assert place.digest("/app/") == place.tar()
    (place.top / "index.places").write_bytes(b"")
    assert place.digest("/app/") == place.tar()


def test_a_record_that_has_been_cut_does_no_harm(place):
    place.digest("/app/")
    os.truncate(place.top / "index.blocks", 700)
    assert place.digest("/app/") == place.tar()
    os.truncate(place.top / "index.blocks", 0)
    assert place.digest("/app/") == place.tar()


@pytest.mark.parametrize("size", [3, 2_000_000])
def test_files_of_another_size_than_the_client_says_are_not_recorded(place, size):
    (place.context / "odd").write_bytes(b"x" * size)
    known = index_of(place.context)
    attributes, digest = known.files["odd"]
    known.files["odd"] = ((*attributes[:3], 10, *attributes[4:]), digest)
    for _ in range(2):
        assert place.digest("/app/", known=known) == place.tar()
        assert b"xxx" not in (place.top / "index.blocks").read_bytes()


def test_a_record_does_not_grow_for_ever(place):
    sizes = set()
    for number in range(30):
        (place.context / "a").unlink()
        (place.context / "a").write_text(str(number) * 2000)
        assert place.digest("/app/") == place.tar()
        sizes.add((place.top / "index.blocks").stat().st_size)
    assert max(sizes) < 40_000


def test_what_had_to_be_copied_is_left_to_the_tar(place):
    fd = os.open(place.context / "sub/b", os.O_RDONLY)
    flags = fcntl.ioctl(fd, GET_FLAGS, bytes(4))
    try:
        fcntl.ioctl(
            fd, SET_FLAGS, struct.pack("i", struct.unpack("i", flags)[0] | IMMUTABLE)
        )  # no links to it
        assert place.digest("/app/") is None
        assert place.shares("app/a", "a") and not place.shares("app/sub/b", "sub/b")
    finally:
        fcntl.ioctl(fd, SET_FLAGS, flags)
        os.close(fd)
    assert place.digest("/app/") == place.tar()


def test_hard_links_and_what_is_merged_are_left_to_the_tar(place):
    os.link(place.context / "a", place.context / "sub/a")
    assert place.digest("/app/") is None
    (place.context / "sub/a").unlink()
    (place.lower[0] / "app/sub").mkdir(parents=True)
    assert place.digest("/app/") is None
