"""Volumes and mounts as users see them: the docker CLI and ours against a real engine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from recording.session import Session

from engine import Engine


class Docker:
    """The docker CLI beside an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, *arguments: str) -> str:
        return self.engine.run("docker", *arguments).stdout.strip()

    def fails(self, *arguments: str) -> str:
        """Run what must fail; its words."""
        done = self.engine.run("docker", *arguments, check=False)
        assert done.returncode, done.stdout
        return done.stderr

    def host(self, *command: str) -> str:
        """Run a command in the engine's mount namespace."""
        return self.engine.run(*command).stdout

    def mounted(self, name: str) -> bool:
        """Whether a volume is mounted on the host."""
        return f"/volumes/{name}/_data " in self.host("cat", "/proc/self/mountinfo")


@pytest.fixture
def docker(engine: Engine, session: Session) -> Iterator[Docker]:
    session.clean()
    yield Docker(engine)
    session.clean()


@pytest.fixture
def filled(docker: Docker, tmp_path: Path) -> str:
    """An image of two layers with something at /data."""
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN mkdir -p /data/sub && echo low >/data/sub/f && chmod 700 /data && echo 1 >/data/gone"
        " && ln /data/sub/f /data/twin\nRUN rm /data/gone && echo top >/data/top && ln -s /etc/passwd /data/link\n"
    )
    docker("build", "-q", "-t", "filled", str(tmp_path))
    return "filled"


def test_a_tmpfs_volume_is_mounted_while_it_is_used(docker: Docker) -> None:
    docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7", "tm")
    assert not docker.mounted("tm")
    docker("run", "-d", "--name", "one", "-v", "tm:/t", "busybox", "sleep", "60")
    assert docker.mounted("tm")
    assert docker("run", "--rm", "-v", "tm:/t", "busybox", "sh", "-c", "stat -c %u /t; echo x >/t/f") == "7"
    assert docker("exec", "one", "cat", "/t/f") == "x"
    docker("rm", "-f", "one")
    docker("run", "--rm", "busybox", "true")  # the unmounting is in the background, but before later work
    assert docker("run", "--rm", "-v", "tm:/t", "busybox", "ls", "/t") == ""
    docker("volume", "rm", "tm")
    assert not docker.mounted("tm")


def test_a_volume_of_limited_size(docker: Docker, filled: str) -> None:
    def corten(*arguments: str, check: bool = True) -> str:
        program = str(Path(sys.executable).with_name("corten"))
        return docker.engine.run(program, *arguments, check=check).stderr

    docker("volume", "create", "-o", "size=16m", "small")
    assert docker("run", "--rm", "-v", "small:/data", filled, "ls", "/data").split() == [
        "link",
        "sub",
        "top",
        "twin",
    ]
    write = "dd if=/dev/zero of=/data/big bs=1M count=32"
    assert "No space left on device" in docker.fails(
        "run", "--rm", "-v", "small:/data", filled, *write.split()
    )
    usage = docker.engine.request("GET", "/system/df?type=volume")[1]
    (size,) = (v["UsageData"]["Size"] for v in json.loads(usage)["Volumes"] if v["Name"] == "small")
    assert 0 < size <= 17 << 20
    remove = ["rm", "/data/big"]
    docker("run", "--rm", "-v", "small:/data", filled, *remove)
    assert docker("run", "--rm", "-v", "small:/data", filled, "cat", "/data/top") == "top"
    corten("volume", "update", "--size", "64m", "small")
    assert docker("volume", "inspect", "-f", "{{.Options.size}} {{.Status.Limit}}", "small") == "64m image"
    docker("run", "--rm", "-v", "small:/data", filled, *write.split())
    assert docker("run", "--rm", "-v", "small:/data", filled, "cat", "/data/top") == "top"
    docker("run", "-d", "--name", "holder", "-v", "small:/data", filled, "sleep", "60")
    words = corten("volume", "update", "--size", "96m", "small", check=False)
    if words:  # without CAP_SYS_RESOURCE
        assert "update small: an engine without CAP_SYS_RESOURCE" in words
    expected = "64m" if words else "96m"
    assert docker("volume", "inspect", "-f", "{{.Options.size}}", "small") == expected
    docker("rm", "-f", "holder")
    words = corten("volume", "update", "--size", "16m", "small", check=False)
    assert "update small: a volume in an image can only grow" in words
    docker("volume", "create", "plain")
    words = corten("volume", "update", "--size", "16m", "plain", check=False)
    assert "update plain: a volume that was made without a size gets none" in words
    docker("volume", "rm", "small")
    assert not docker.mounted("small") and "/volumes/small/" not in docker.host("losetup", "-a")
    assert "size is too small" in docker.fails("volume", "create", "-o", "size=1k", "tiny")
    words = docker.fails("volume", "create", "-o", "size=8m", "-o", "type=tmpfs", "-o", "device=x", "both")
    assert "size cannot be combined" in words


def test_a_bind_volume_shows_its_device(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("host\n")
    options = ["-o", "type=none", "-o", "o=bind,ro", "-o", f"device={tmp_path}"]
    docker("volume", "create", *options, "bound")
    assert docker("run", "--rm", "-v", "bound:/b", "busybox", "cat", "/b/f") == "host"
    assert "Read-only file system" in docker.fails(
        "run", "--rm", "-v", "bound:/b", "busybox", "touch", "/b/g"
    )
    docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/nosuch", "lost")
    words = docker.fails("run", "--rm", "-v", "lost:/b", "busybox", "true")
    assert "error while mounting volume '" in words and "no such file or directory" in words
    assert not docker.mounted("lost")


def test_an_engine_that_was_killed_knows_what_is_mounted(new_engine) -> None:
    engine = new_engine()
    docker = Docker(engine)
    image = Path("/usr/bin/busybox")
    layer = engine.directory / "layer"
    (layer / "bin").mkdir(parents=True)
    (layer / "bin/sleep").write_bytes(image.read_bytes())
    (layer / "bin/sleep").chmod(0o755)
    subprocess.run(["tar", "-C", str(layer), "-cf", str(engine.directory / "i.tar"), "."], check=True)
    docker("import", str(engine.directory / "i.tar"), "sleeper")
    for name in ("held", "left"):
        docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", name)
        docker("run", "-d", "--name", name, "-v", f"{name}:/t", "sleeper", "/bin/sleep", "60")
    pid = docker("inspect", "-f", "{{.State.Pid}}", "left")
    engine.kill()
    engine.run("sh", "-c", f"kill -9 {pid}")
    engine.start()
    assert docker("inspect", "-f", "{{.State.Status}}", "left", "held").split() == ["exited", "running"]
    assert docker.mounted("held") and not docker.mounted("left")
    docker("rm", "-f", "held", "left")
    docker("volume", "rm", "held", "left")


def test_new_volumes_take_what_the_image_has(docker: Docker, filled: str) -> None:
    script = "stat -c %a /data; cd /data; ls -A; cat sub/f top; readlink link; stat -c %h twin"
    said = docker("run", "--rm", "-v", "new:/data", filled, "sh", "-c", script).split()
    assert said == ["700", "link", "sub", "top", "twin", "low", "top", "/etc/passwd", "2"]
    assert docker("run", "--rm", "-v", "none:/data:nocopy", filled, "ls", "/data") == ""
    mount = "type=volume,src=none2,dst=/data,volume-nocopy"
    assert docker("run", "--rm", "--mount", mount, filled, "ls", "/data") == ""
    docker("run", "--rm", "-v", "new:/data", filled, "rm", "-r", "/data/sub", "/data/twin")
    assert docker("run", "--rm", "-v", "new:/data", filled, "ls", "/data").split() == ["link", "top"]


def test_tmpfs_volumes_are_filled_too(docker: Docker, filled: str) -> None:
    docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "tm")
    assert docker("run", "--rm", "-v", "tm:/data", filled, "cat", "/data/sub/f") == "low"


def test_subpaths_of_volumes(docker: Docker, filled: str) -> None:
    docker("run", "--rm", "-v", "vv:/data", filled, "true")
    docker("run", "--rm", "-v", "vv:/data", filled, "ln", "-s", "../../../..", "/data/up")
    docker("run", "--rm", "-v", "vv:/data", filled, "ln", "-s", "sub", "/data/inner")

    def mount(subpath: str) -> list[str]:
        return ["run", "--rm", "--mount", f"src=vv,dst=/d,volume-subpath={subpath}", filled]

    assert docker(*mount("sub"), "ls", "/d") == "f"
    assert docker(*mount("sub/f"), "cat", "/d") == "low"
    assert docker(*mount("inner"), "ls", "/d") == "f"
    assert "cannot access path" in docker.fails(*mount("nosuch"), "true")
    assert "path escapes the volume" in docker.fails(*mount("up"), "true")
    assert "path escapes the volume" in docker.fails(*mount("link"), "true")
    assert "subpath must be a relative path within the volume" in docker.fails(*mount("../x"), "true")


def test_images_as_mounts(docker: Docker, filled: str) -> None:
    def run(options: str, *command: str) -> list[str]:
        return ["run", "--rm", "--mount", f"type=image,src={filled},dst=/i{options}", "busybox", *command]

    assert docker(*run("", "cat", "/i/data/top", "/i/data/sub/f")).split() == ["top", "low"]
    assert "Read-only file system" in docker.fails(*run("", "touch", "/i/x"))
    assert docker(*run(",image-subpath=data/sub", "ls", "/i")) == "f"
    assert docker(*run(",image-subpath=data/top", "cat", "/i")) == "top"
    assert "Read-only file system" in docker.fails(*run(",image-subpath=data/sub", "touch", "/i/x"))
    docker(
        "create", "--name", "shows", "--mount", f"type=image,src={filled},dst=/i", "busybox", "ls", "/i/data"
    )
    assert "is using" in docker.fails("rmi", filled) or "must be forced" in docker.fails("rmi", filled)
    docker("rmi", "-f", filled)
    assert "sub" in docker("start", "-a", "shows")
    document = json.loads(docker("inspect", "shows"))[0]["Mounts"][0]
    assert (document["Type"], document["RW"]) == ("image", False)


def test_volumes_from(docker: Docker) -> None:
    docker("run", "--name", "owner", "-v", "shared:/a", "-v", "/b", "busybox", "touch", "/a/x", "/b/y")
    assert docker("run", "--rm", "--volumes-from", "owner", "busybox", "ls", "/a", "/b").split() == [
        *("/a:", "x", "/b:", "y")
    ]
    ident = docker("inspect", "-f", "{{.Id}}", "owner")[:12]
    words = docker.fails("run", "--rm", "--volumes-from", f"{ident}:ro", "busybox", "touch", "/a/z")
    assert "Read-only file system" in words
    assert "in use" in docker.fails("volume", "rm", "shared")
    docker("rm", "-v", "owner")
    assert docker("volume", "ls", "-q") == "shared"


def test_prune_takes_anonymous_ones_unless_told(docker: Docker) -> None:
    docker("volume", "create", "named")
    docker("volume", "create", "--label", "keep=1", "labelled")
    anonymous = docker("volume", "create")
    assert docker("volume", "prune", "-f").split("\n")[:2] == ["Deleted Volumes:", anonymous]
    docker("volume", "prune", "-af", "--filter", "label!=keep")
    assert docker("volume", "ls", "-q") == "labelled"


def test_events_of_volumes(docker: Docker) -> None:
    docker("run", "--rm", "--name", "ee", "-v", "ev:/d:ro", "busybox", "true")
    docker("volume", "rm", "ev")
    shown = '{{.Type}} {{.Action}} {{index .Actor.Attributes "read/write"}}'
    now = f"{time.time():.9f}"
    events = docker("events", "--since", "1m", "--until", now, "--format", shown, "--filter", "type=volume")
    assert [line.rstrip() for line in events.splitlines()][-4:] == [
        *("volume create", "volume mount false", "volume unmount", "volume destroy")
    ]


def test_id_mapped_binds_give_files_to_their_owner(docker: Docker, tmp_path: Path) -> None:
    """Root inside is the directory's owner outside; others stay who they are; root's files are nobody's."""
    os.chown(tmp_path, 1234, 2345)
    (tmp_path / "mine").write_text("x")
    os.chown(tmp_path / "mine", 1234, 2345)
    (tmp_path / "roots").write_text("x")
    script = "stat -c '%n %u:%g' /m/mine /m/roots; echo y >/m/new; echo z >/m/roots"
    said = docker.engine.run(
        "docker", "run", "--rm", "-v", f"{tmp_path}:/m:map", "busybox", "sh", "-c", script, check=False
    )
    assert not said.stderr.startswith("docker:"), said.stderr
    assert said.stdout.splitlines() == ["/m/mine 0:0", "/m/roots 65534:65534"]
    assert "can't create /m/roots" in said.stderr
    new = (tmp_path / "new").stat()
    assert (new.st_uid, new.st_gid, (tmp_path / "roots").read_text()) == (1234, 2345, "x")
    docker("run", "--rm", "-u", "77:88", "-v", f"{tmp_path}:/m:map,rw", "busybox", "touch", "/m/by77")
    assert (tmp_path / "by77").stat().st_uid == 1234
    assert "invalid mode: map" in docker.fails("run", "--rm", "-v", "named:/m:map", "busybox", "true")


def test_shared_binds_need_a_shared_mount(docker: Docker, tmp_path: Path) -> None:
    docker.host("mount", "-t", "tmpfs", "tmpfs", str(tmp_path))
    try:
        docker.host("mount", "--make-private", str(tmp_path))
        words = docker.fails("run", "--rm", "-v", f"{tmp_path}:/d:shared", "busybox", "true")
        assert f"path {tmp_path} is mounted on {tmp_path} but it is not a shared mount" in words
        docker.host("mount", "--make-shared", str(tmp_path))
        docker("run", "--rm", "-v", f"{tmp_path}:/d:rshared", "busybox", "true")
        docker("run", "--rm", "-v", f"{tmp_path}:/d:rslave", "busybox", "true")
    finally:
        docker.host("umount", str(tmp_path))


def test_read_only_binds_are_so_all_the_way_down(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    docker.host("mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "inner"))
    source = f"type=bind,src={tmp_path},dst=/d,readonly"
    try:
        words = docker.fails("run", "--rm", "--mount", source, "busybox", "touch", "/d/inner/x")
        assert "Read-only file system" in words
        writable = f"{source},bind-recursive=writable"
        docker("run", "--rm", "--mount", writable, "busybox", "touch", "/d/inner/x")
        disabled = f"type=bind,src={tmp_path},dst=/d,bind-recursive=disabled"
        assert docker("run", "--rm", "--mount", disabled, "busybox", "ls", "/d/inner") == ""
    finally:
        docker.host("umount", str(tmp_path / "inner"))


def test_our_command_line_says_the_same(docker: Docker, engine: Engine) -> None:
    corten = str(Path(os.sys.executable).with_name("corten"))
    engine.run(corten, "volume", "create", "--label", "a=b", "-o", "type=tmpfs", "-o", "device=x", "mine")
    docker("create", "--name", "uses", "-v", "mine:/m", "busybox")
    for words in (
        *(
            ["ls"],
            ["ls", "-q"],
            ["ls", "--format", "json"],
            ["ls", "-f", "dangling=true"],
            ["inspect", "mine"],
        ),
        *(["inspect", "nosuch"], ["rm", "mine"], ["rm", "nosuch"], ["create", "x"], ["create", "--bad"]),
        *(["ls", "--format", '{{.Name}} {{.Size}} {{.Label "a"}}'], ["update", "mine"], ["prune", "-f"]),
    ):
        theirs = engine.run("docker", "volume", *words, check=False)
        ours = engine.run(corten, "volume", *words, check=False)
        assert ours.stdout == theirs.stdout, words
        assert ours.returncode == theirs.returncode, words
        assert ours.stderr == theirs.stderr.replace("docker", "corten"), words


def test_cp_sees_image_mounts(docker: Docker, filled: str, tmp_path: Path) -> None:
    mounts = ["--mount", f"type=image,src={filled},dst=/i", "--mount"]
    mounts.append(f"type=image,src={filled},dst=/s,image-subpath=data/sub")
    docker("create", "--name", "shows", *mounts, "busybox", "sleep", "60")
    (tmp_path / "new").write_text("x")
    for state in ("stopped", "running"):
        for path, content in (("/i/data/top", "top\n"), ("/s/f", "low\n")):
            docker("cp", f"shows:{path}", str(tmp_path / "got"))
            assert (tmp_path / "got").read_text() == content, (state, path)
        assert "read-only" in docker.fails("cp", str(tmp_path / "new"), "shows:/i/data/").lower(), state
        docker("start", "shows")
    docker("rm", "-f", "shows")
