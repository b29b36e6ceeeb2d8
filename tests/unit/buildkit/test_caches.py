"""Caches of a build that are elsewhere."""

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace

from corten.builder.cachetransfer.options import CachePlace
from corten.buildkit.caches import Caches


class Told:
    def __init__(self):
        self.names = []

    @contextmanager
    def internal(self, name):
        self.names.append(name)
        yield


def test_a_cache_that_is_named_twice_is_asked_for_once():
    told = Told()
    caches = Caches(None, SimpleNamespace(imports=set()), None, told)
    attributes = {"src": "here", "tag": "x"}  # without a digest: it is told of, and left out
    once = CachePlace("local", attributes)
    again = CachePlace("local", dict(reversed(attributes.items())))
    asyncio.run(caches.import_all([once, again]))
    asyncio.run(caches.import_all([again, CachePlace("local", {"src": "there"})]))
    assert told.names == ["importing cache manifest from here", "importing cache manifest from there"]
