"""What `--storage-opt` may say; that it limits is shown in tests/vm, on file systems with project quotas."""

import pytest

from corten.engine.containers.disklimits import parse_limit
from corten.errors import InvalidParameter


@pytest.mark.parametrize(("text", "size_bytes"), [("120G", 120 << 30), ("64m", 64 << 20), ("4096", 4096)])
def test_sizes(text, size_bytes):
    assert parse_limit({"size": text}) == size_bytes
    assert parse_limit({"Size": text}) == size_bytes


@pytest.mark.parametrize("options", [{"size": "much"}, {"size": "0"}, {"size": "-1"}, {"inodes": "5"}, {}])
def test_what_is_no_limit_is_refused(options):
    with pytest.raises(InvalidParameter):
        parse_limit(options)
