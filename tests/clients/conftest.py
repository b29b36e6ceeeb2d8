"""The docker CLI against an engine of ours, with the fixed image of the recorded scenarios."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the package `recording`

import server_images as servers
from plugins import building_engine
from recording.session import Session

from engine import Engine


@pytest.fixture(scope="session")
def session(engine: Engine) -> Iterator[Session]:
    """Scenarios against the shared engine."""
    running = Session(
        engine.docker_host,
        netns_pid=engine.sandbox.pid,
        hidden={str(engine.root): "<root>", str(engine.exec_root): "<exec root>"},
    )
    yield running
    running.close()


@pytest.fixture(scope="module")
def builder() -> Iterator[Engine]:
    """An engine for the builds of one module."""
    with building_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def server_images(engine: Engine) -> Iterator[None]:
    """The shared engine has images of nginx, redis and postgres; they go with the module."""
    servers.make(engine)
    yield
    servers.remove(engine)
