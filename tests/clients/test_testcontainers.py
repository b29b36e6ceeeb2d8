"""testcontainers-python, unmodified, starts Debian's redis and postgres on an engine of ours."""

import sys
from pathlib import Path

import pytest

from engine import Engine

_PROGRAM = str(Path(__file__).with_name("testcontainers_program.py"))
# Their reaper is an image from a registry; waiting is in steps of a second unless they are told otherwise.
_SETTINGS = ("TESTCONTAINERS_RYUK_DISABLED=true", "TC_POOLING_INTERVAL=0.1")


def _everything(engine: Engine) -> list[str]:
    lists = ("ps -aq --no-trunc", "volume ls -q", "network ls -q --no-trunc")
    return [engine.run("docker", *words.split()).stdout for words in lists]


@pytest.mark.parametrize("name", ["redis", "postgres", "network"])
def test_program(engine: Engine, server_images: None, name: str) -> None:
    before = _everything(engine)
    engine.run("env", *_SETTINGS, sys.executable, _PROGRAM, name)
    assert _everything(engine) == before
