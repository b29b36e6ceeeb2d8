"""What COPY and ADD put where, seen in the layers they make."""

import os
import stat

import pytest

pytestmark = pytest.mark.root

FILES = {"f": "f", "g": "g", "dir/a": "a", "dir/sub/b.txt": "b", "dir/sub/c.md": "c", "dir/link": "-> a"}


def tree(layer):
    """Paths of a layer with what they are: text of files, `/` for directories, `-> x` for links."""
    found = {}
    for directory, directories, files in os.walk(layer):
        for name in (*directories, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                shown = f"-> {os.readlink(path)}"
            elif stat.S_ISDIR(status.st_mode):
                shown = "/"
            else:
                with open(path) as file:
                    shown = file.read()
            found[os.path.relpath(path, layer)] = shown
    return found


BODY = {"a": "a", "sub": "/", "sub/b.txt": "b", "sub/c.md": "c", "link": "-> a"}
CASES = [
    ("COPY f /x", {"x": "f"}),
    ("COPY f /x/", {"x": "/", "x/f": "f"}),
    ("COPY f /etc", {"etc": "/", "etc/f": "f"}),
    ("COPY f .", {"f": "f"}),
    ("COPY ./f x/../g /x/y/", {"x": "/", "x/y": "/", "x/y/f": "f", "x/y/g": "g"}),
    ("COPY dir /x", {"x": "/", **{f"x/{k}": v for k, v in BODY.items()}}),
    ("COPY dir/ /x/", {"x": "/", **{f"x/{k}": v for k, v in BODY.items()}}),
    ("COPY dir/sub/*.txt /x", {"x": "b"}),
    ("COPY d*/s?b /x/", {"x": "/", "x/b.txt": "b", "x/c.md": "c"}),
    ("COPY [fg] /x/", {"x": "/", "x/f": "f", "x/g": "g"}),
    ('COPY ["f", "/with space/"]', {"with space": "/", "with space/f": "f"}),
    ("COPY dir/link /x", {"x": "a"}),
    (
        "COPY --exclude=*.md --exclude=link dir /x",
        {"x": "/", "x/a": "a", "x/sub": "/", "x/sub/b.txt": "b", "x/sub/c.md": "c"},
    ),
    (
        "COPY --exclude=**/*.md --exclude=link dir /x",
        {"x": "/", "x/a": "a", "x/sub": "/", "x/sub/b.txt": "b"},
    ),
    ("COPY --exclude=* --exclude=!sub/c.md dir /x", {"x": "/", "x/sub": "/", "x/sub/c.md": "c"}),
    (
        "COPY --parents dir/sub/b.txt f /x/",
        {"x": "/", "x/dir": "/", "x/dir/sub": "/", "x/dir/sub/b.txt": "b", "x/f": "f"},
    ),
    ("COPY --parents dir/./sub/b.txt /x/", {"x": "/", "x/sub": "/", "x/sub/b.txt": "b"}),
    ("COPY --parents **/*.txt /x/", {"x": "/", "x/dir": "/", "x/dir/sub": "/", "x/dir/sub/b.txt": "b"}),
    ("COPY --link f /x", {"x": "f"}),
]


@pytest.mark.parametrize(("instruction", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_lands_where(site, instruction, expected):
    site.add_busybox()
    result = site.build(f"FROM bb:1\n{instruction}\n", FILES)
    assert result.error is None
    assert tree(result.lower()[0]) == expected


def test_of_a_copied_directory_itself_only_the_times_are_kept(site):
    site.add_busybox()
    result = site.build(
        "FROM bb:1 AS made\nRUN mkdir -p /h/in /there && chown 5:6 /h /h/in && chmod 700 /h /h/in && "
        "touch -d '2001-02-03 04:05:06' /h\nFROM made\n"
        "COPY --from=made /h /plain\nCOPY --from=made --chown=7:8 /h /owned\nCOPY --from=made /h /there\n"
    )
    found = {name: result.find(name).stat() for name in ("plain", "plain/in", "owned", "there")}
    assert {name: (mode(result.find(name)), status.st_uid) for name, status in found.items()} == {
        "plain": (0o755, 0),
        "plain/in": (0o700, 5),
        "owned": (0o755, 7),
        "there": (0o755, 0),
    }
    assert {found[name].st_mtime for name in ("plain", "owned", "there")} == {981173106}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def owner(path):
    status = path.stat()
    return status.st_uid, status.st_gid


def test_owners_and_modes(site):
    site.add_busybox()
    result = site.build(
        "FROM bb:1\nCOPY f /plain\nCOPY --chown=app f /d1/user\nCOPY --chown=app:staff dir /named\n"
        "COPY --chown=12 f /number\nCOPY --chown=12:34 "
        "--chmod=4711 f /both\nCOPY --chmod=u=rwX,go=rX dir /sym\n"
        "COPY --chown=app: f /user\nCOPY --chown=12: f /id\nCOPY --chown=:staff f /group\n",
        FILES,
    )
    assert (owner(result.find("plain")), mode(result.find("plain"))) == ((0, 0), 0o644)
    assert owner(result.find("d1/user")) == owner(result.find("d1")) == (1000, 1001)
    assert owner(result.find("named/sub/b.txt")) == owner(result.find("named")) == (1000, 50)
    assert owner(result.find("number")) == (12, 12)
    assert [owner(result.find(name)) for name in ("user", "id", "group")] == [(1000, 0), (12, 0), (0, 50)]
    assert (owner(result.find("both")), mode(result.find("both"))) == ((12, 34), 0o4711)
    assert (mode(result.find("sym/sub")), mode(result.find("sym/a"))) == (0o755, 0o644)


def test_times_are_kept(site):
    site.add_busybox()
    assert site.build("FROM bb:1\nCOPY f /\n", FILES).find("f").stat().st_mtime == 1_600_000_000


def test_a_file_replaces_a_file_and_a_link_but_no_directory(site):
    site.add_busybox()
    base = "FROM bb:1\nRUN mkdir /d && echo old > /d/f && ln -s /etc/passwd /d/g && mkdir /d/dir\n"
    result = site.build(base + "COPY f g /d/\n", FILES)
    assert result.find("d/f").read_text() == "f"
    assert not result.find("d/g").is_symlink()
    refused = site.build(
        base + "COPY f /d/dir\nCOPY g /d/dir/\nRUN rm /d/f && mkdir /d/f\nCOPY f /d/\n", FILES
    )
    assert str(refused.error) == "COPY failed: cannot copy non-directory over directory f"
    assert "cannot copy to non-directory" in str(site.build(base + "COPY dir /d/f\n", FILES).error)


def test_an_error_can_be_shown_if_a_name_is_no_utf8(site):
    site.add_busybox()
    made = "FROM bb:1\nRUN mkdir -p /d/$(printf 'x\\377')\nFROM scratch\nCOPY f /f\n"
    refused = site.build(f"{made}COPY --from=0 /d /d\nCOPY e /d\n", {"f": "", os.fsdecode(b"e/x\xff"): ""})
    assert str(refused.error) == "COPY failed: cannot copy non-directory over directory x\ufffd"


def test_directories_merge(site):
    site.add_busybox()
    result = site.build(
        "FROM bb:1\nRUN mkdir -p -m 700 /x/sub && echo old > /x/sub/old\nCOPY dir /x\n", FILES
    )
    assert mode(result.find("x/sub")) == 0o755
    assert result.find("x/sub/old").read_text() == "old\n"


def test_links_in_the_destination_stay_inside_the_image(site, tmp_path):
    site.add_busybox()
    outside = tmp_path / "outside"
    outside.mkdir()
    links = f"ln -s /real /in; ln -s {outside} /abs; ln -s ../../../..{outside} /rel; ln -s /loop /loop"
    result = site.build(
        f"FROM bb:1\nRUN mkdir /real; {links}\nCOPY f /in/\nCOPY f /abs/1/\nCOPY f /rel/2/\n", FILES
    )
    assert result.find("real/f").read_text() == "f"
    inside = str(outside).lstrip("/")
    assert result.find(f"{inside}/1/f").read_text() == result.find(f"{inside}/2/f").read_text() == "f"
    assert list(outside.iterdir()) == []
    loop = site.build(f"FROM bb:1\nRUN {links}\nCOPY f /loop/\n", FILES)
    assert str(loop.error).startswith("COPY failed: ")


def test_hard_links_and_special_files_of_another_stage(site):
    site.add_busybox()
    result = site.build(
        "FROM bb:1 AS s\nRUN mkdir /d && echo x > /d/a && ln /d/a "
        "/d/b && mkfifo /d/p && chmod 4755 /d/a && chown 5 /d/a\n"
        "FROM scratch\nCOPY --from=s /d /d\n"
    )
    a, b = result.find("d/a").stat(), result.find("d/b").stat()
    assert a.st_ino == b.st_ino
    assert (a.st_uid, stat.S_IMODE(a.st_mode) & 0o777) == (5, 0o755)
    assert result.find("d/p").is_fifo()


def test_special_files_are_copied_by_name_and_devices_not_opened(site):
    """No driver has the device 240:200: to open it would fail, as to open others would have an effect."""
    site.add_busybox()
    result = site.build(
        "FROM bb:1 AS s\nRUN mkfifo /p && mknod /c c 240 200 && chmod 640 /c && ln -s /c /l\n"
        "FROM bb:1\nCOPY --from=s /p /c /x/\nCOPY --from=s --chown=5 --chmod=600 /l /y\n"
    )
    assert result.find("x/p").is_fifo()
    for path, expected in (("x/c", (0, 0o640)), ("y", (5, 0o600))):
        status = result.find(path).stat()
        assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (240, 200)
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == expected


def test_a_device_in_place_of_passwd_is_not_opened(site):
    site.add_busybox()
    result = site.build(
        "FROM bb:1\nRUN rm /etc/passwd && mknod /etc/passwd c 240 200\nCOPY --chown=app f /\n", FILES
    )
    assert "no such user: app" in str(result.error)


def test_what_two_sources_have_by_hard_links_is_two_files(site):
    site.add_busybox()
    result = site.build("FROM bb:1 AS s\nRUN echo x > /a && ln /a /b\nFROM bb:1\nCOPY --from=s /a /b /x/\n")
    assert result.find("x/a").stat().st_ino != result.find("x/b").stat().st_ino


def test_a_link_that_is_the_destination_is_followed(site, tmp_path):
    site.add_busybox()
    links = {"there": "/t", "nowhere": "new/er", "out": f"../../../..{tmp_path}/x", "m/f": "/t"}
    made = " && ".join(f"ln -s {target} /{name}" for name, target in links.items())
    result = site.build(
        f"FROM bb:1\nRUN echo old > /t && mkdir /m && {made}\n"
        "COPY f /there\nCOPY g /nowhere\nCOPY f /out\nCOPY g /m/f\nCOPY f /m/\n",
        FILES,
    )
    assert result.find("t").read_text() == "g"
    assert result.find("new/er").read_text() == "g"
    assert result.find(f"{tmp_path}/x".lstrip("/")).read_text() == "f"
    assert not (tmp_path / "x").exists()
    assert [os.readlink(result.find(name)) for name in list(links)[:3]] == list(links.values())[:3]
    assert not result.find("m/f").is_symlink(), "what stands where something goes is replaced"


def test_links_in_a_circle_are_not_found_and_passed_over_by_wildcards(site):
    site.add_busybox()
    stage = "FROM bb:1 AS s\nRUN mkdir -p /d/x && echo a > /d/x/a && ln -s loop /d/loop\nFROM bb:1\n"
    assert "stat d/loop: file does not exist" in str(site.build(f"{stage}COPY --from=s /d/loop /x\n").error)
    assert site.build(f"{stage}COPY --from=s /d/*/a /x\n").find("x").read_text() == "a\n"


def test_capabilities_survive_a_copy(site):
    site.add_busybox()
    source = site.build("FROM bb:1\nCOPY f /f\n", FILES, tags=["caps"])
    value = bytes.fromhex("0100000202000000000000000000000000000000")
    os.setxattr(source.find("f"), "security.capability", value)
    result = site.build("FROM scratch\nCOPY --from=caps /f /f\n")
    assert os.getxattr(result.find("f"), "security.capability") == value


def test_dockerignore(site):
    site.add_busybox()
    files = {
        **FILES,
        ".dockerignore": "# words\n*.md\n**/*.md\n/g\ndir/sub\n!dir/sub/b.txt\nDockerfile\n.dockerignore\n",
    }
    result = site.build("FROM bb:1\nCOPY . /x\n", files)
    assert tree(result.lower()[0]) == {
        "x": "/",
        "x/f": "f",
        "x/dir": "/",
        "x/dir/a": "a",
        "x/dir/link": "-> a",
        "x/dir/sub": "/",
        "x/dir/sub/b.txt": "b",
    }
    own = site.build("FROM bb:1\nCOPY . /x\n", {**files, "Dockerfile.dockerignore": "*\n!f\n"})
    assert tree(own.lower()[0]) == {"x": "/", "x/f": "f"}


def test_a_linked_copy_is_a_layer_of_its_own(site):
    site.add_busybox()
    dockerfile = "FROM bb:1\n{}COPY --link --chown=7:8 d /etc/app/\nCOPY --link --chmod=u=rwx,go= d/f /run\n"
    first = site.build(dockerfile.format(""), {"d/f": "1"})
    other = site.build(dockerfile.format("RUN echo below > /etc/below\n"), {"d/f": "1"})
    assert first.lower()[:2] == other.lower()[:2], "the same layers over another root"
    assert other.text.count("Using cache") == 2
    assert other.find("etc/app/f").stat().st_uid == 7
    assert other.find("run").stat().st_mode & 0o777 == 0o700
    seen = site.build(f"FROM {first.id.removeprefix('sha256:')}\nRUN cat /etc/passwd > /seen\n")
    assert "root:x:0" in seen.find("seen").read_text(), "what is below shows through"
    assert "user.overlay.opaque" not in os.listxattr(first.lower()[1] / "etc")
    assert "trusted.overlay.opaque" not in os.listxattr(first.lower()[1] / "etc")
