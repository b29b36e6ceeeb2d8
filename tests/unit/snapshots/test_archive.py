"""Writing trees as tar."""

import inspect
import os
import sys

import pytest

from corten.snapshots.archive import TreeArchiver
from corten.snapshots.errors import BadArchive
from corten.snapshots.tar_writer import TarWriter


def test_a_tree_that_is_too_deep_is_refused(tmp_path):
    os.makedirs(tmp_path.joinpath(*"d" * 200))
    tree = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        with pytest.raises(BadArchive, match="nested too deep"):
            TreeArchiver(TarWriter(lambda data: None)).add_tree(tree, b"tree")
    finally:
        sys.setrecursionlimit(limit)
        os.close(tree)
