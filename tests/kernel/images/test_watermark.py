"""Making room by itself: which images go, and in which order."""

import asyncio
import os
from types import SimpleNamespace

import pytest

from corten.daemon.config import ConfigError
from corten.daemon.storage import watermarks
from corten.engine.watermark import Marks, Watermark
from imagefiles import Sample
from registry_server import Registry


async def no_cache(filters, *, all, space):
    return SimpleNamespace(space_reclaimed=0)


@pytest.fixture
def full(images, monkeypatch):
    """full(percent): the disk says that it is so full; one percent is a byte."""
    with Registry() as registry:
        for name in ("old", "used", "new"):
            registry.add(name, "latest", Sample(name.encode()))
            images.pull(f"{registry.host}/{name}")
            images.store.tag(f"{registry.host}/{name}", f"{name}:1")
    images.container("c", images.store.resolve("used:1").id)

    def check(percent):
        monkeypatch.setattr(
            os, "statvfs", lambda path: SimpleNamespace(f_blocks=100, f_frsize=1, f_bavail=100 - percent)
        )
        return asyncio.run(Watermark(images.store, no_cache, Marks(90, 80)).check())

    return check


def names(images):
    return {name for name in ("old", "used", "new") if images.store.find(f"{name}:1")}


def test_below_the_mark_nothing_goes(full, images):
    assert full(90) == 0
    assert names(images) == {"old", "used", "new"}


def test_the_oldest_unused_goes_first(full, images):
    assert full(91) > 0  # ten bytes are wanted, one image is enough
    assert names(images) == {"used", "new"}
    assert full(91) > 0
    assert full(91) == 0
    assert names(images) == {"used"}


@pytest.mark.parametrize("options", [{"corten.gc-high": "x"}, {"corten.gc-high": "100"}, {"corten.gc-low": "5"},
                                     {"corten.gc-high": "50%", "corten.gc-low": "50%"}])  # fmt: skip
def test_nonsense(options):
    with pytest.raises(ConfigError):
        watermarks(options)


def test_marks():
    assert watermarks({}) is None
    assert watermarks({"corten.gc-high": "85%"}) == Marks(85, 75)
    assert watermarks({"corten.gc-high": "85", "corten.gc-low": "50"}) == Marks(85, 50)
