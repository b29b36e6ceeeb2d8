"""testcontainers-python, unmodified, starts Debian's redis and postgres on an engine of ours."""

import sys
from pathlib import Path

import pytest

from engine import Engine

_PROGRAM = str(Path(__file__).with_name("testcontainers_program.py"))
# Their reaper is an image from a registry; waiting is in steps of a second unless they are told otherwise.
_SETTINGS = ("TESTCONTAINERS_RYUK_DISABLED=true", "TC_POOLING_INTERVAL=0.1")


@pytest.mark.parametrize("name", ["redis", "postgres", "network"])
def test_program(engine: Engine, server_images: None, name: str) -> None:
    before = engine.run("docker", "network", "ls", "-q").stdout
    engine.run("env", *_SETTINGS, sys.executable, _PROGRAM, name)
    assert engine.run("docker", "ps", "-aq").stdout == ""
    assert engine.run("docker", "volume", "ls", "-q").stdout == ""
    assert engine.run("docker", "network", "ls", "-q").stdout == before
