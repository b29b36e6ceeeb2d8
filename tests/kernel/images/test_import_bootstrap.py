import gzip
import os
import subprocess

import pytest

from corten.errors import InvalidParameter, NotFound
from corten.images.import_image import import_image
from corten.oci.image import ImageConfig
from corten.platforms import Platform
from corten.reference import parse_normalized
from imagefiles import directory, tar


async def body(data):
    for i in range(0, len(data), 100):
        yield data[i : i + 100]


def test_import(images):
    data = gzip.compress(tar(directory("bin"), ("bin/x", b"program")))
    [line] = images.lines(
        import_image(
            images.store,
            body(data),
            name=parse_normalized("imported"),
            config=ImageConfig(cmd=["/bin/x"], env=["A=b"]),
            message="hello",
            platform=Platform("linux", "arm", "v7"),
        )
    )
    image = images.store.resolve("imported:latest")
    assert line.status == image.id
    assert (image.config.cmd, image.document.comment, str(image.platform)) == (
        ["/bin/x"],
        "hello",
        "linux/arm/v7",
    )
    assert image.document.history[0].comment == "hello"
    assert os.listdir(images.store.lower_dirs(image)[0]) == ["bin"]
    assert [e[0] for e in images.events] == ["import", "tag"]


def test_import_of_nonsense(images):
    with pytest.raises(InvalidParameter):
        images.imported(b"no tar" * 200)
    assert images.store.all() == []


def test_busybox(images):
    """The README's first image: runs, has its applets, and is the same when made again."""
    lines = images.lines(images.store.bootstrap("busybox"))
    image = images.store.resolve("busybox")
    assert lines[-1].status == image.id
    [root] = images.store.lower_dirs(image)
    for command, output in (("echo hi", b"hi\n"), ("id -u", b"0\n"), ("ls /etc/passwd", b"/etc/passwd\n")):
        result = subprocess.run(["chroot", root, "sh", "-c", command], capture_output=True, check=True)
        assert result.stdout == output
    assert os.stat(root + "/tmp").st_mode & 0o7777 == 0o1777
    images.lines(images.store.bootstrap("busybox"))
    assert [i.id for i in images.store.all()] == [image.id]


@pytest.mark.parametrize(
    "what", ["alpine", "debian:../../etc", "debian:Bookworm!", "", "busybox:1.0", "debian:-x"]
)
def test_unknown_distributions(images, what):
    with pytest.raises(InvalidParameter, match="only busybox and debian"):
        images.lines(images.store.bootstrap(what))


def test_debootstrap_missing(images, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(NotFound, match="debootstrap is not installed"):
        images.lines(images.store.bootstrap("debian:trixie", cache=str(tmp_path)))


def test_debian_from_the_cache(images, tmp_path):
    """What debootstrap made once is used again; the tar here stands for it."""
    (tmp_path / "debian-trixie.tar").write_bytes(tar(directory("bin"), ("bin/bash", b"")))
    images.lines(images.store.bootstrap("debian:trixie", cache=str(tmp_path)))
    image = images.store.resolve("debian:trixie")
    assert image.id == images.store.resolve("debian").id
    assert image.config.cmd == ["bash"]
