"""Fixtures: the API over fake services."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from calls import IMAGE, Api, load_image
from fakes import FakeEngine, serving
from wire_client import Wire

from engine import Engine


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with serving(str(tmp_path / "api.sock")) as engine:
        yield engine


@pytest.fixture
def wire(fake: FakeEngine) -> Iterator[Wire]:
    with fake.connect() as sock:
        yield Wire(sock)


@pytest.fixture
def api(engine: Engine) -> Iterator[Api]:
    """Calls on the shared engine; the containers that a test made go with it."""
    api = Api(engine)
    if IMAGE not in json.dumps(api.call("GET", "/images/json")):
        load_image(engine)
    before = {each["Id"] for each in api.call("GET", "/containers/json?all=1")}
    yield api
    for each in api.call("GET", "/containers/json?all=1"):
        if each["Id"] not in before:
            api.remove(each["Id"])
