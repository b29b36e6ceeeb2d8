"""Our registry, started as a test needs it."""

import pytest

from registry_client import Registries


@pytest.fixture
def new_registry(tmp_path):
    registries = Registries(tmp_path)
    yield registries.start
    registries.close()


@pytest.fixture
def registry(new_registry):
    return new_registry()
