"""Fixtures: the API over fake services."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fakes import FakeEngine, serving
from wire_client import Wire


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with serving(str(tmp_path / "api.sock")) as engine:
        yield engine


@pytest.fixture
def wire(fake: FakeEngine) -> Iterator[Wire]:
    with fake.connect() as sock:
        yield Wire(sock)
