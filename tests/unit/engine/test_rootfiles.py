import os

import pytest

from corten.engine.containers.rootfiles import read_root_file


@pytest.fixture
def layers(tmp_path):
    for name, text in (("low", "low"), ("high", "high")):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / "etc/passwd").write_text(text)
    (tmp_path / "low/etc/only").write_text("only low")
    return [str(tmp_path / "upper"), str(tmp_path / "high"), str(tmp_path / "low")]


def test_the_uppermost_layer_decides(layers):
    assert read_root_file(layers, "/etc/passwd", 100) == b"high"
    assert read_root_file(layers, "/etc/only", 4) == b"only"
    assert read_root_file(layers, "/etc/none", 100) is None


def test_symlinks_stay_inside(layers, tmp_path):
    os.remove(tmp_path / "high/etc/passwd")
    os.symlink("/../../etc/only", tmp_path / "high/etc/passwd")
    assert read_root_file(layers, "/etc/passwd", 100) == b"only low"
    os.remove(tmp_path / "high/etc/passwd")
    os.symlink("/etc/hostname", tmp_path / "high/etc/passwd")
    assert read_root_file(layers, "/etc/passwd", 100) is None
    os.remove(tmp_path / "high/etc/passwd")
    os.symlink("passwd", tmp_path / "high/etc/passwd")
    assert read_root_file(layers, "/etc/passwd", 100) is None


def test_a_symlinked_directory_is_followed_over_layers(layers, tmp_path):
    os.symlink("etc", tmp_path / "high/conf")
    assert read_root_file(layers, "/conf/only", 100) == b"only low"


def test_a_fifo_does_not_block(layers, tmp_path):
    os.remove(tmp_path / "high/etc/passwd")
    os.mkfifo(tmp_path / "high/etc/passwd")
    assert read_root_file(layers, "/etc/passwd", 100) is None


@pytest.mark.root
@pytest.mark.root
def test_whiteouts_and_opaque_directories_hide(layers, tmp_path):
    os.remove(tmp_path / "high/etc/passwd")
    os.mknod(tmp_path / "high/etc/passwd", 0o020000, os.makedev(0, 0))
    assert read_root_file(layers, "/etc/passwd", 100) is None
    os.setxattr(tmp_path / "high/etc", "trusted.overlay.opaque", b"y")
    assert read_root_file(layers, "/etc/only", 100) is None
