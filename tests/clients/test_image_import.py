"""`docker import` of what the engine fetches from a URL."""

import os
import signal
import subprocess
import time

import pytest

from imagefiles import tar
from sandbox import child_of

_ADDRESS = "127.0.0.1:28701"


@pytest.fixture
def site(engine, session, tmp_path):
    """A directory that is served on _ADDRESS, inside the engine's network namespace."""
    session.clean()
    server = engine.popen("busybox", "httpd", "-f", "-p", _ADDRESS, "-h", str(tmp_path))
    deadline = time.monotonic() + 20
    while engine.run("curl", "-s", f"http://{_ADDRESS}/", check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield tmp_path
    os.kill(child_of(server.pid), signal.SIGKILL)
    server.communicate()


def test_from_a_url(engine, site):
    (site / "root.tar").write_bytes(tar(("file", b"here")))
    command = ["docker", "import", "-c", 'CMD ["x"]', f"http://{_ADDRESS}/root.tar", "fetched:1"]
    first, *_, last = engine.run(*command).stdout.splitlines()
    assert first == f"Downloading from http://{_ADDRESS}/root.tar"
    inspect = ["docker", "image", "inspect", "-f", "{{.Id}} {{.Config.Cmd}} {{.Comment}}", "fetched:1"]
    assert engine.run(*inspect).stdout == f"{last} [x] Imported from http://{_ADDRESS}/root.tar\n"
    engine.run("docker", "rmi", "fetched:1")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"http://{_ADDRESS}/missing.tar", "404"),
        (f"http://{_ADDRESS}/text", "archive"),
        ("http://127.0.0.1:1/x.tar", "refused"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing(engine, site, url, problem):
    (site / "text").write_text("no tar " * 200)
    done = engine.run("docker", "import", url, "broken:1", check=False)
    assert done.returncode == 1
    assert problem in done.stderr
    assert os.listdir(engine.root / "tmp") == []
    listed = subprocess.run(
        engine.sandbox.command("docker", "-H", engine.docker_host, "images", "-q", "broken"),
        capture_output=True,
    )
    assert listed.stdout == b""
