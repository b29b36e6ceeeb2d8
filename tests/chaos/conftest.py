"""Engines with an image to run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine


@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of nothing but busybox."""
    folder = tmp_path_factory.mktemp("busybox")
    (folder / "root/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "root/bin/busybox")
    subprocess.run(["chroot", str(folder / "root"), "/bin/busybox", "--install", "-s", "/bin"], check=True)
    archive = folder / "busybox.tar"
    subprocess.run(["tar", "-C", str(folder / "root"), "-cf", str(archive), "."], check=True)
    return archive


@pytest.fixture
def engine_with_busybox(new_engine: Callable[..., Engine], busybox_tar: Path) -> Callable[..., Engine]:
    """Make an engine that has the image busybox."""

    def make(config: dict[str, object] | None = None) -> Engine:
        engine = new_engine(config)
        engine.run("docker", "import", str(busybox_tar), "busybox")
        return engine

    return make
