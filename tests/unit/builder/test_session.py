"""What a build held is given up at its end, whatever goes wrong meanwhile."""

import asyncio
import os
import shutil

import pytest

from corten.builder.session import Session


def test_who_fails_at_the_end_keeps_nothing_else_from_going(tmp_path):
    session = Session(str(tmp_path), None)
    os.makedirs(tmp_path / "tmp")
    session.new_directory("context")
    told = []
    session.on_close.callback(told.append, "first")
    session.on_close.callback(os.close, -1)
    session.on_close.callback(told.append, "last")
    with pytest.raises(OSError):
        asyncio.run(session.close(None, shutil.rmtree))
    assert told == ["last", "first"]
    assert os.listdir(tmp_path / "tmp") == []
