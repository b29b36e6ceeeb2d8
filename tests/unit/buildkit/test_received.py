"""Files that a client sends: what arrives is what was sent, and nothing gets out of the directory."""

import os
import stat
from pathlib import Path

import pytest

from corten.builder.ops.contenthash import content_digest
from corten.builder.treeindex import KnownDigests
from corten.buildkit.grpc.call import framed
from corten.buildkit.proto.files_pb2 import DATA, ERROR, FIN, REQUEST, STAT, Packet, Stat
from corten.buildkit.received import ReceivedTree
from corten.buildkit.receivedtexts import ReceivedTexts
from corten.buildkit.transfer import BadTree
from corten.errors import InvalidParameter
from corten.snapshots.xattrs import get_portable, is_portable
from corten.wire.gomode import to_go

FILE, DIRECTORY, LINK = 0o100644, 0o40755, 0o120777
ME = {"uid": os.getuid(), "gid": os.getgid()}


def entry(path, mode=FILE, link="", **fields) -> Packet:
    names = {"path": os.fsencode(path), "link": os.fsencode(link)}
    return Packet(
        type=STAT, stat=Stat(mode=to_go(mode), mtime_ns=1_600_000_000_000_000_000, **names, **ME, **fields)
    )


END = Packet(type=STAT)


def take(tree: ReceivedTree, packets: list[Packet]) -> list[Packet]:
    """Feed messages in two halves, wherever that cuts them; the answers."""
    data = b"".join(map(framed, packets))
    said = tree.feed(data[: len(data) // 2]) + tree.feed(data[len(data) // 2 :])
    answers = []
    while said:
        end = 5 + int.from_bytes(said[1:5], "big")
        answers.append(Packet.FromString(said[5:end]))
        said = said[end:]
    return answers


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "in").mkdir()
    received = ReceivedTree(str(tmp_path / "in"), str(tmp_path / "index"))
    yield received
    received.close()


def test_names_that_are_no_utf8_come_in_the_order_of_their_bytes(tree, tmp_path):
    names = [b"\x80", "\ue000".encode(), b"\xff"]
    take(tree, [entry(name) for name in names])
    assert sorted(os.listdir(os.fsencode(tmp_path / "in"))) == sorted(names)
    with pytest.raises(BadTree, match="out of order"):
        take(tree, [entry(b"\xfe")])


def test_a_tree_arrives(tree, tmp_path):
    root = tmp_path / "in"
    answers = take(
        tree,
        [
            entry("a", size=3),
            entry("d", DIRECTORY | 0o1000),
            entry("d/b", 0o104755, size=2),
            entry("d/empty", 0o100600),
            entry("d/hard", link="a"),
            entry("d/soft", LINK, link="../../outside"),
            END,
        ],
    )
    assert [(each.type, each.id) for each in answers] == [(REQUEST, 0), (REQUEST, 2)]
    assert take(tree, [Packet(type=DATA, id=2, data=b"bb"), Packet(type=DATA, id=0, data=b"a")]) == []
    last = [Packet(type=DATA, id=2), Packet(type=DATA, id=0, data=b"aa"), Packet(type=DATA, id=0)]
    assert [each.type for each in take(tree, last)] == [FIN]
    assert not tree.complete
    take(tree, [Packet(type=FIN)])
    assert tree.complete
    assert (root / "a").read_bytes() == b"aaa"
    assert (root / "a").stat().st_ino == (root / "d/hard").stat().st_ino
    assert stat.S_IMODE((root / "d/b").stat().st_mode) == 0o4755
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o1755
    assert (root / "d").stat().st_mtime_ns == 1_600_000_000_000_000_000
    assert os.readlink(root / "d/soft") == "../../outside"
    assert (root / "d/empty").stat().st_size == 0


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/../../x", ".", "", "a/", "x\0y"])
def test_paths_that_lead_elsewhere_are_refused(tree, path):
    with pytest.raises(BadTree):
        take(tree, [entry("a", DIRECTORY), entry(path)])


def test_nothing_is_written_through_a_symlink(tree, tmp_path):
    with pytest.raises(BadTree, match="comes before its directory"):
        take(tree, [entry("s", LINK, link=str(tmp_path)), entry("s/x")])
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("packets", [[entry("b"), entry("a")], [entry("a"), entry("a")]])
def test_the_order_is_kept(tree, packets):
    with pytest.raises(BadTree, match="out of order"):
        take(tree, packets)


def test_hard_links_lead_to_what_was_sent(tree):
    with pytest.raises(BadTree, match="invalid hardlink"):
        take(tree, [entry("h", link="../../etc/passwd")])


def test_data_must_have_been_asked_for(tree):
    with pytest.raises(BadTree, match="not asked for"):
        take(tree, [entry("a", size=1), Packet(type=DATA, id=7, data=b"x")])


def test_an_early_end_is_no_end(tree):
    with pytest.raises(BadTree, match="before all files had come"):
        take(tree, [entry("a", size=1), END, Packet(type=FIN)])
    assert not tree.complete


def test_nothing_is_listed_after_the_end(tree):
    with pytest.raises(BadTree, match="after the end"):
        take(tree, [entry("a", size=1), END, entry("b", size=1)])


@pytest.mark.parametrize("target", ["", "a\0b", "x" * 5000])
def test_targets_that_no_symlink_has(tree, target):
    with pytest.raises(BadTree, match="invalid target"):
        take(tree, [entry("s", LINK, link=target)])


@pytest.mark.parametrize("path", ["x" * 256, "é" * 200])
def test_names_that_are_too_long(tree, path):
    with pytest.raises(BadTree, match="too long"):
        take(tree, [entry(path)])


def test_the_list_is_bounded(tree, monkeypatch):
    monkeypatch.setattr(type(tree), "max_listed", 10_000)
    with pytest.raises(BadTree, match="too many files"):
        take(tree, [entry(f"f{number:05}", 0o020666) for number in range(1000)])


def test_the_senders_error_is_passed_on(tree):
    with pytest.raises(InvalidParameter, match="error from sender: oh"):
        take(tree, [Packet(type=ERROR, data=b"oh")])


def test_devices_and_sockets_are_left_out(tree, tmp_path: Path):
    take(tree, [entry("c", 0o020666), entry("s", 0o140666), END])
    assert os.listdir(tmp_path / "in") == []


def second(tmp_path, packets) -> tuple[ReceivedTree, list[Packet]]:
    """A further transfer into the same directory."""
    tree = ReceivedTree(str(tmp_path / "in"), str(tmp_path / "index"))
    return tree, take(tree, [*packets, END])


@pytest.fixture
def filled(tree):
    take(
        tree,
        [entry("a", size=1), entry("d", DIRECTORY), entry("d/b", size=1), entry("d/l", LINK, link="a"), END],
    )
    take(tree, [Packet(type=DATA, id=each, data=b"x") for each in (0, 2)])
    take(tree, [Packet(type=DATA, id=each) for each in (0, 2)])


def test_what_is_here_is_not_asked_for_again(filled, tmp_path):
    same = [entry("a", size=1), entry("d", DIRECTORY), entry("d/b", size=1), entry("d/l", LINK, link="a")]
    tree, answers = second(tmp_path, same)
    tree.close()
    assert [each.type for each in answers] == [FIN]


def test_what_has_changed_is_made_anew_and_what_is_gone_goes(filled, tmp_path):
    changed = entry("d/b", size=1)
    changed.stat.mtime_ns += 1
    tree, answers = second(tmp_path, [entry("a", DIRECTORY), entry("d", DIRECTORY | 0o22), changed])
    assert [(each.type, each.id) for each in answers] == [(REQUEST, 2)]
    take(tree, [Packet(type=DATA, id=2, data=b"y"), Packet(type=DATA, id=2)])
    tree.close()
    root = tmp_path / "in"
    assert (root / "a").is_dir()
    assert sorted(os.listdir(root / "d")) == ["b"]
    assert (root / "d/b").read_bytes() == b"y"
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o777


def test_a_directory_loses_the_attributes_that_the_client_has_removed(tmp_path):
    (tmp_path / "in").mkdir()
    for attributes in ({"user.a": b"1", "user.b": b"2", "security.x": b""}, {"user.b": b"3"}, {}):
        tree, _ = second(tmp_path, [entry("d", DIRECTORY, xattrs=attributes)])
        tree.close()
        found = get_portable(str(tmp_path / "in/d"))
        assert found == {os.fsencode(k): v for k, v in attributes.items() if is_portable(k)}


def test_a_kept_symlink_is_no_directory(filled, tmp_path):
    (tmp_path / "outside").mkdir()
    tree, _ = second(tmp_path, [entry("d", LINK, link=str(tmp_path / "outside"))])
    tree.close()
    tree, _ = second(tmp_path, [entry("d", DIRECTORY), entry("d/x")])
    tree.close()
    assert os.listdir(tmp_path / "outside") == []
    assert os.listdir(tmp_path / "in/d") == ["x"]


def test_a_kept_symlink_has_nothing_below_it(filled, tmp_path):
    (tmp_path / "outside").mkdir()
    tree, _ = second(tmp_path, [entry("d", LINK, link=str(tmp_path / "outside"))])
    tree.close()
    with pytest.raises(BadTree):
        second(tmp_path, [entry("d", LINK, link=str(tmp_path / "outside")), entry("d/x")])
    assert not (tmp_path / "index").exists(), "a transfer that fails leaves a directory of no use"
    assert os.listdir(tmp_path / "outside") == []


def test_a_changed_file_is_replaced_and_never_written_to(filled, tmp_path):
    """Layers may share it."""
    shared = tmp_path / "layer"
    os.link(tmp_path / "in/d/b", shared)
    before = shared.stat()
    changed = entry("d/b", 0o100600, size=1)
    tree, _ = second(tmp_path, [entry("d", DIRECTORY), changed])
    take(tree, [Packet(type=DATA, id=1, data=b"y"), Packet(type=DATA, id=1)])
    tree.close()
    after = shared.stat()
    assert shared.read_bytes() == b"x"
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert (tmp_path / "in/d/b").read_bytes() == b"y"


@pytest.mark.parametrize(
    "packets",
    [
        [entry("a", size=1), entry("d", DIRECTORY), entry("d/b", size=1), entry("d/l", LINK, link="a")],
        [entry("a", DIRECTORY), entry("a/x", size=1), entry("d", DIRECTORY), entry("d/b", DIRECTORY)],
        [entry("d", size=1)],
        [entry("a", size=1), entry("e", link="a"), entry("f", LINK, link="x")],
        [],
    ],
)
def test_the_index_says_what_looking_says(filled, tmp_path, packets):
    tree, answers = second(tmp_path, packets)
    wanted = [each.id for each in answers if each.type == REQUEST]
    take(tree, [Packet(type=DATA, id=each, data=b"z") for each in wanted])
    take(tree, [Packet(type=DATA, id=each) for each in wanted])
    tree.close()
    find = KnownDigests(str(tmp_path / "index")).find
    root = os.open(tmp_path / "in", os.O_RDONLY)
    for sources in (["/"], ["/d*"], ["/a"] if (tmp_path / "in/a").exists() else ["/"]):
        known = content_digest(root, sources, find=find)
        assert known == content_digest(root, sources)
        assert known == content_digest(root, sources, exclude=["nothing"], find=find)
    os.close(root)


# -- small files in memory: those that are wanted, wherever symlinks lead, and no others ---------


def data(identifier, content=b""):
    return Packet(type=DATA, id=identifier, data=content)


def asked(answers):
    return sorted(each.id for each in answers if each.type == REQUEST)


def test_only_what_is_wanted_is_asked_for():
    texts = ReceivedTexts(["Dockerfile", ".dockerignore", "none"])
    answers = take(texts, [entry(".dockerignore"), entry("Dockerfile", size=7), entry("other", size=3), END])
    assert asked(answers) == [1]
    assert [each.type for each in take(texts, [data(1, b"FROM "), data(1, b"x\n"), data(1)])] == [FIN]
    take(texts, [Packet(type=FIN)])
    assert texts.complete
    assert [texts.text(name) for name in ("Dockerfile", ".dockerignore", "none")] == [b"FROM x\n", b"", None]


@pytest.mark.parametrize(
    ("name", "link"),
    [("f", "d/real"), ("f", "/d/real"), ("f", "../../d/./real"), ("f", "l/real"), ("e/f", "../d/real")],
)
def test_symlinks_lead_where_the_kernel_would_be_led(name, link):
    texts = ReceivedTexts([name])
    found = {
        "d": entry("d", DIRECTORY),
        "d/real": entry("d/real", size=1),
        "e": entry("e", DIRECTORY),
        name: entry(name, LINK, link=link),
        "l": entry("l", LINK, link="d"),
    }
    [identifier] = asked(take(texts, [*(found[path] for path in sorted(found)), END]))
    take(texts, [data(identifier, b"x"), data(identifier)])
    assert texts.text(name) == b"x"


@pytest.mark.parametrize("link", ["f", "missing", "d/real/more"])
def test_symlinks_that_lead_nowhere(link):
    texts = ReceivedTexts(["f"])
    listed = [entry("d", DIRECTORY), entry("d/real", size=1), entry("f", LINK, link=link), END]
    assert asked(take(texts, listed)) == []
    assert texts.text("f") is None


def test_a_directory_is_no_text():
    texts = ReceivedTexts(["d"])
    take(texts, [entry("d", DIRECTORY), END])
    with pytest.raises(InvalidParameter, match="read d: is a directory"):
        texts.text("d")


def test_further_names_of_a_file_have_its_content():
    texts = ReceivedTexts(["d/b"])
    listed = [entry("a", size=1), entry("d", DIRECTORY), entry("d/b", size=1, link="a"), END]
    assert asked(take(texts, listed)) == [0]


def test_what_was_not_asked_for_is_refused_and_what_is_too_large(monkeypatch):
    monkeypatch.setattr("corten.buildkit.receivedtexts._MAX_TEXT", 10)
    texts = ReceivedTexts(["a"])
    take(texts, [entry("a", size=1), entry("b", size=1), END])
    with pytest.raises(BadTree, match="which was not asked for"):
        take(texts, [data(1, b"x")])
    texts = ReceivedTexts(["a"])
    take(texts, [entry("a", size=1), END])
    with pytest.raises(InvalidParameter, match="'a' is larger than 10 bytes"):
        take(texts, [data(0, b"x" * 11)])


def test_a_message_may_come_byte_by_byte_without_being_looked_at_for_each():
    texts, content = ReceivedTexts(["f"]), os.urandom(1 << 20)
    take(texts, [entry("f", size=len(content)), END])
    for byte in framed(Packet(type=DATA, data=content)):
        assert texts.feed(bytes([byte])) == b""
    assert take(texts, [Packet(type=DATA)]) == [Packet(type=FIN)]
    assert texts.text("f") == content


def test_of_small_files_the_list_is_small():
    texts = ReceivedTexts(["a"])
    with pytest.raises(BadTree, match="too many files"):
        take(texts, [entry(f"{number:04}", LINK, link="x" * 4000) for number in range(5000)])
