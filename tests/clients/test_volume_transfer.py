"""`corten volume export, import, clone, rename, du`, and what they do while containers write."""

import io
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from recording.session import Session

from engine import Engine

CORTEN = str(Path(sys.executable).with_name("corten"))


@pytest.fixture
def engine_with_data(engine: Engine, session: Session) -> Iterator[Engine]:
    """A volume `data` with files of several kinds."""
    session.clean()
    script = (
        "cd /d; mkdir -p a/b; echo x >a/b/f; chown 7:8 a/b/f; chmod 4750 a/b/f; ln -s f a/b/l; ln a/b/f twin;"
        "mkfifo p; chmod 1777 ."
    )
    engine.run("docker", "run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", script)
    yield engine
    session.clean()


_SHOW = "cd /d; stat -c '%n %a %u:%g %F %h' . a/b/f a/b/l twin p; cat twin"


def shown(engine: Engine, volume: str) -> str:
    return engine.run("docker", "run", "--rm", "-v", f"{volume}:/d", "busybox", "sh", "-c", _SHOW).stdout


def test_a_volume_goes_to_a_file_and_comes_back(engine_with_data: Engine, tmp_path: Path) -> None:
    engine = engine_with_data
    file = str(tmp_path / "data.tar")
    engine.run(CORTEN, "volume", "export", "-o", file, "data")
    assert engine.run(CORTEN, "volume", "import", "back", file).stdout == "back\n"
    assert shown(engine, "back") == shown(engine, "data")
    again = engine.run(CORTEN, "volume", "import", "back", file, check=False)
    assert "create back: a volume of this name exists already" in again.stderr
    assert (
        "no such volume" in engine.run(CORTEN, "volume", "export", "-o", file, "nosuch", check=False).stderr
    )


def test_what_is_no_tar_leaves_no_volume(engine_with_data: Engine, tmp_path: Path) -> None:
    engine = engine_with_data
    (tmp_path / "bad").write_bytes(os.urandom(4096))
    assert engine.run(CORTEN, "volume", "import", "bad", str(tmp_path / "bad"), check=False).returncode
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        entry = tarfile.TarInfo("f")
        entry.size = 100_000
        tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    (tmp_path / "torn").write_bytes(whole.getvalue()[:50_000])
    assert engine.run(CORTEN, "volume", "import", "torn", str(tmp_path / "torn"), check=False).returncode
    assert engine.run("docker", "volume", "ls", "-q").stdout == "data\n"
    assert os.listdir(engine.root / "volumes") == ["data"]


def test_an_archive_cannot_write_outside(engine_with_data: Engine, tmp_path: Path) -> None:
    engine = engine_with_data
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        for name in ("out/owned", "../../../owned"):
            tar.addfile(tarfile.TarInfo(name))
    engine.run(CORTEN, "volume", "import", "evil", str(tmp_path / "evil.tar"), check=False)
    assert not (tmp_path / "owned").exists()
    assert not list(engine.root.glob("**/owned")) or (engine.root / "volumes/evil/_data").exists()


def test_a_clone_has_all_and_is_its_own(engine_with_data: Engine) -> None:
    engine = engine_with_data
    engine.run(CORTEN, "volume", "clone", "data", "copy")
    assert shown(engine, "copy") == shown(engine, "data")
    engine.run("docker", "run", "--rm", "-v", "copy:/d", "busybox", "rm", "-r", "/d/a")
    assert "a/b/f" in shown(engine, "data")


def test_a_clone_is_of_one_moment(engine_with_data: Engine) -> None:
    """The writer counts in two files, one after the other: a copy may be one behind, never more."""
    engine = engine_with_data
    script = "i=0; while :; do i=$((i+1)); echo $i >/d/first; echo $i >/d/second; done"
    command = ["docker", "run", "-d", "--name", "writer", "-v", "data:/d", "busybox", "sh", "-c", script]
    engine.run(*command)
    engine.run("docker", "exec", "writer", "sh", "-c", "until [ -s /d/second ]; do sleep 0.01; done")
    read = ["busybox", "sh", "-c", "cat /d/first /d/second"]
    for number in range(3):
        engine.run(CORTEN, "volume", "clone", "data", f"copy{number}")
        found = engine.run("docker", "run", "--rm", "-v", f"copy{number}:/d", *read).stdout.split()
        if len(found) == 2:
            assert 0 <= int(found[0]) - int(found[1]) <= 1
        assert engine.run("docker", "inspect", "-f", "{{.State.Status}}", "writer").stdout == "running\n"


def test_rename(engine_with_data: Engine) -> None:
    engine = engine_with_data
    before = shown(engine, "data")
    engine.run("docker", "create", "--name", "has", "-v", "data:/d", "busybox")
    words = engine.run(CORTEN, "volume", "rename", "data", "other", check=False).stderr
    assert "rename data: volume is in use - [" in words
    engine.run("docker", "rm", "has")
    engine.run(CORTEN, "volume", "rename", "data", "other")
    assert engine.run("docker", "volume", "ls", "-q").stdout == "other\n"
    assert shown(engine, "other") == before


def test_sizes(engine_with_data: Engine) -> None:
    engine = engine_with_data
    lines = engine.run(CORTEN, "volume", "du", "data").stdout.splitlines()
    assert lines[0].split() == ["VOLUME", "NAME", "LINKS", "SIZE"]
    assert lines[1].split()[:2] == ["data", "0"]
