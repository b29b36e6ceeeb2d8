"""The launcher finds interpreter and package from where it is installed, through links and blanks."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(params=["site-packages", "dist-packages", "editable"])
def prefix(request, tmp_path):
    """An installation as pip makes it: a wheel's files, or an editable install's path file."""
    root = tmp_path / "a prefix"
    library = root / "lib" / VERSION / ("site-packages" if request.param == "editable" else request.param)
    library.mkdir(parents=True)
    (root / "bin").mkdir()
    shutil.copy(SOURCE / "corten/launcher/corten", root / "bin/corten")
    (root / "bin/python3").symlink_to(sys.executable)
    if request.param == "editable":
        (library / "_corten.pth").write_text(str(SOURCE))  # as hatchling writes it: without a line's end
    else:
        (library / "corten").symlink_to(SOURCE / "corten")
    return root


def version(*words, cwd=None):
    done = subprocess.run([*words, "--version"], capture_output=True, text=True, cwd=cwd, check=True)
    return done.stdout


def test_directly_and_through_links(prefix, tmp_path):
    (tmp_path / "absolute").symlink_to(prefix / "bin/corten")
    (tmp_path / "relative").symlink_to("a prefix/bin/corten")
    (tmp_path / "twice").symlink_to("relative")
    for program in (prefix / "bin/corten", *(tmp_path / name for name in ("absolute", "relative", "twice"))):
        assert version(str(program)).startswith("Corten version ")
    assert version("./corten", cwd=prefix / "bin").startswith("Corten version ")
    assert version("sh", "corten", cwd=prefix / "bin").startswith("Corten version ")


def test_says_so_if_there_is_no_package(tmp_path):
    (tmp_path / "bin").mkdir()
    shutil.copy(SOURCE / "corten/launcher/corten", tmp_path / "bin/corten")
    done = subprocess.run([str(tmp_path / "bin/corten")], capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "is not installed beside" in done.stderr
