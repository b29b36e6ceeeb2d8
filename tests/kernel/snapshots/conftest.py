import os

import pytest

from corten.snapshots.extract import ExtractOptions, Extractor
from corten.snapshots.tar_reader import TarReader


def pytest_collection_modifyitems(items):
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.root)


@pytest.fixture
def unpack(tmp_path):
    """unpack(tar bytes, **options) -> the directory it went into (the same one each time)."""
    target = tmp_path / "target"
    target.mkdir()

    def run(data, **options):
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with Extractor(fd, ExtractOptions(**options)) as extractor:
                extractor.extract(TarReader([data]))
        finally:
            os.close(fd)
        return target

    return run
