"""Fixtures for tests of the command line: an engine that behaves, and the program itself."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENTRY = HERE.parents[2] / "src/corten/cli/__main__.py"

_spec = importlib.util.spec_from_file_location("fake_engine", HERE / "fake_engine.py")
fake_engine = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_engine)


@pytest.fixture
def engine(tmp_path):
    fake = fake_engine.FakeEngine(tmp_path / "engine.sock")
    yield fake
    fake.close()


@pytest.fixture
def command(engine, tmp_path):
    """The words that start the command line; its environment has the fake engine in it."""
    words = [sys.executable, "-I", "-S", str(ENTRY)]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CORTEN_HOST": engine.host, "TZ": "UTC"}
    return words, env


@pytest.fixture
def corten(command):
    """Run `corten ARGUMENTS`; gives the finished process with bytes in stdout and stderr."""
    words, env = command

    def run(*arguments, stdin=b"", **more):
        return subprocess.run(
            [*words, *arguments],
            input=stdin,
            capture_output=True,
            timeout=30,
            env={**env, **more},
            check=False,
        )

    return run
