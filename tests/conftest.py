"""Fixtures that all tiers share: real engines, each in namespaces of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for sandbox.py and engine.py beside this file

from engine import Engine

_NEED_ROOT = {"engine", "new_engine", "engine_with_busybox"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts an engine needs root, without saying so each time."""
    for item in items:
        if _NEED_ROOT & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.root)
        if os.geteuid() and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def new_engine() -> Iterator[Callable[..., Engine]]:
    """Make engines for this test alone: `new_engine({"daemon.json key": value})` starts and returns one.

    etc: files that the engine finds in /etc.
    """
    engines: list[Engine] = []

    def make(
        config: dict[str, object] | None = None, *arguments: str, etc: dict[str, str] | None = None
    ) -> Engine:
        engines.append(Engine(config))
        if etc:
            engines[-1].write_etc(etc)
        engines[-1].start(*arguments)
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One running engine for all tests that only need one: leave it as you found it."""
    shared = Engine()
    try:
        shared.start()
        yield shared
    finally:
        shared.close()


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
    """Make an engine for this test alone that has the image busybox."""

    def make(config: dict[str, object] | None = None) -> Engine:
        engine = new_engine(config)
        engine.run("docker", "import", str(busybox_tar), "busybox")
        return engine

    return make
