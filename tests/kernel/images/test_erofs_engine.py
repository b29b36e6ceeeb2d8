"""An engine that keeps layers as EROFS: clients notice nothing."""

import os
import shutil
from pathlib import Path

import pytest

from corten.snapshots.erofs.mounts import is_supported

pytestmark = pytest.mark.root

if os.geteuid() == 0 and not is_supported("/tmp"):
    pytest.skip("mounting EROFS from files needs Linux 6.12", allow_module_level=True)


def load(engine):
    """A busybox image of two layers by docker build out of a tar; returns nothing."""
    context = engine.directory / "context"
    (context / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", context / "bin/busybox")
    engine.run("tar", "-C", str(context), "-cf", str(engine.directory / "fs.tar"), ".")
    engine.run("docker", "import", str(engine.directory / "fs.tar"), "base:1")


def mounts(engine):
    text = engine.run("cat", "/proc/self/mountinfo").stdout
    return [line.split()[4] for line in text.splitlines() if f"{engine.root}/layers/" in line]


def test_running_building_removing(new_engine):
    engine = new_engine()
    load(engine)
    names = [entry.name for entry in Path(engine.root, "layers").iterdir() if entry.name != "empty"]
    assert [name.endswith(".erofs") for name in names] == [True]
    run = ("docker", "run", "--rm", "base:1", "/bin/busybox")
    assert engine.run(*run, "ls", "/bin").stdout == "busybox\n"
    assert (
        engine.run(*run, "sh", "-c", "echo x > /new; busybox rm /bin/busybox; echo /bin/* /new").stdout
        == "/bin/* /new\n"
    )
    assert len(mounts(engine)) == 1  # shared by all containers
    dockerfile = engine.directory / "context/Dockerfile"
    dockerfile.write_text('FROM base:1\nRUN ["/bin/busybox", "touch", "/built"]\nCOPY Dockerfile /there\n')
    engine.run("docker", "build", "-t", "built:1", str(engine.directory / "context"))
    assert "there" in engine.run("docker", "run", "--rm", "built:1", "/bin/busybox", "ls", "/").stdout
    saved = engine.directory / "saved.tar"
    engine.run("docker", "save", "-o", str(saved), "built:1")
    engine.run("docker", "rmi", "built:1", "base:1")
    assert mounts(engine) == []
    engine.run("docker", "load", "-i", str(saved))
    assert "built" in engine.run("docker", "run", "--rm", "built:1", "/bin/busybox", "ls", "/").stdout


def test_containers_outlive_the_engine_and_its_mounts(new_engine):
    engine = new_engine()
    load(engine)
    engine.run("docker", "run", "-d", "--name", "lives", "base:1", "/bin/busybox", "sleep", "1000")
    engine.kill()
    engine.start()
    exec_ls = ("docker", "exec", "lives", "/bin/busybox", "ls", "/bin")
    assert engine.run(*exec_ls).stdout == "busybox\n"
    engine.run("docker", "run", "--rm", "base:1", "/bin/busybox", "true")
    assert len(mounts(engine)) == 1
    engine.stop()
    assert mounts(engine) == []
    engine.start()
    assert engine.run(*exec_ls).stdout == "busybox\n"


def test_both_forms_side_by_side(new_engine):
    engine = new_engine({"storage-opts": ["corten.layers=extract"]})
    load(engine)
    engine.stop()
    engine.config_file.write_text(engine.config_file.read_text().replace("=extract", "=erofs"))
    engine.start()
    more = engine.directory / "more.tar"
    engine.run("tar", "-C", "/etc", "-cf", str(more), "hostname")
    engine.run("docker", "import", str(more), "other:1")
    forms = {path.suffix for path in Path(engine.root, "layers").iterdir() if path.name != "empty"}
    assert forms == {"", ".erofs"}
    assert engine.run("docker", "run", "--rm", "base:1", "/bin/busybox", "ls", "/bin").stdout == "busybox\n"


def test_nonsense_is_refused(new_engine):
    with pytest.raises(RuntimeError, match="invalid storage option"):
        new_engine({"storage-opts": ["corten.layers=zip"]})
