import asyncio
import sys
from types import SimpleNamespace

from corten.daemon.main import _loop_factory


def test_the_loop_is_uvloops_where_that_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", SimpleNamespace(new_event_loop=asyncio.SelectorEventLoop))
    assert _loop_factory() is asyncio.SelectorEventLoop
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert _loop_factory() is None
