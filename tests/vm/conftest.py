"""Tests in virtual machines. `-m "not vm"` leaves them out."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for machine.py and bootimages.py beside this file

from bootimages import images

collect_ignore = ["guest"]  # what runs inside the machines


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here boots machines, and the first one to run may have to make their images."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.vm)
            item.add_marker(pytest.mark.timeout(600))
            if os.geteuid():
                item.add_marker(pytest.mark.skip(reason="needs root, to make the machines' root file system"))


@pytest.fixture(scope="session", autouse=True)
def boot_images() -> Path:
    """Made before the first test, so that no test's own time contains it."""
    return images()
