"""`corten image diff` on a real engine."""

import subprocess
import sys
from pathlib import Path

import pytest

CORTEN = [sys.executable, "-I", "-S", str(Path(__file__).parents[2] / "src/corten/cli/__main__.py")]


@pytest.fixture
def image_diff(engine, session):
    session.clean()

    def diff(*images):
        command = [*CORTEN, "-H", engine.docker_host, "image", "diff", *images]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    return diff


@pytest.fixture
def changed(engine, image_diff):
    """busybox with one file more and one less, as an image."""
    engine.run(
        "docker", "run", "--name", "changed", "busybox", "sh", "-c", "echo new >/etc/more; rm /bin/ls; ls /"
    )
    engine.run("docker", "commit", "changed", "changed:1")
    engine.run("docker", "rm", "changed")
    yield "changed:1"
    engine.run("docker", "rmi", "changed:1")


def test_both_ways(image_diff, changed):
    assert image_diff("busybox", changed) == (0, "C /bin\nD /bin/ls\nC /etc\nA /etc/more\n", "")
    assert image_diff(changed, "busybox") == (0, "C /bin\nA /bin/ls\nC /etc\nD /etc/more\n", "")
    assert image_diff(changed, changed) == (0, "", "")


def test_images_that_are_not_there(image_diff):
    for images in (("busybox", "missing"), ("missing", "busybox")):
        assert image_diff(*images) == (1, "", "Error response from daemon: No such image: missing:latest\n")
