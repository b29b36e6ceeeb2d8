"""What daemon.json says of registries counts for pull, run and build alike, through the docker CLI."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_registry import CORTEN_REGISTRY, free_port

from engine import Engine
from imagefiles import Sample, docker_archive
from sandbox import child_of

SAMPLE = Sample()
# Refuses everything, and tells what it was asked.
_PROXY = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.requestline, flush=True)
        self.send_error(403)
    do_CONNECT = do_HEAD = do_GET
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", %d), Handler)
print("ready", flush=True)
server.serve_forever()
"""


@pytest.fixture
def site(new_engine: Callable[..., Engine], tmp_path: Path) -> Iterator[tuple[Engine, Iterator[str], str]]:
    """(engine, lines of its proxy, address of a registry); the registry is the mirror of Docker Hub and others."""
    address, proxy_port = f"127.0.0.1:{free_port()}", free_port()
    proxy_url = f"http://127.0.0.1:{proxy_port}"
    for domain, text in {
        "reg.invalid": f'[host."http://{address}"]\n[host."http://{address}".rewrite]\n"^team/(.*)" = "library/$1"\n',
        "bad.invalid": "blocked = true\n",
    }.items():
        (tmp_path / "hosts" / domain).mkdir(parents=True)
        (tmp_path / "hosts" / domain / "hosts.toml").write_text(text)
    engine = new_engine(
        {
            "registry-mirrors": [f"http://{address}"],
            "registry-config-path": [str(tmp_path / "hosts")],
            "proxies": {"http-proxy": proxy_url, "https-proxy": proxy_url, "no-proxy": "127.0.0.1"},
            "insecure-registries": ["plain.invalid"],
        }
    )
    registry = engine.popen(CORTEN_REGISTRY, "--listen", address, "--root", str(tmp_path / "registry"))
    proxy = engine.popen(sys.executable, "-c", _PROXY % proxy_port)
    assert registry.stdout is not None and proxy.stdout is not None
    assert "serving" in registry.stdout.readline()
    assert proxy.stdout.readline() == "ready\n"
    archive = tmp_path / "image.tar"
    archive.write_bytes(docker_archive((SAMPLE.config, SAMPLE.layers, [f"{address}/library/app:1"])))
    engine.run("docker", "load", "-i", str(archive))
    engine.run("docker", "push", "-q", f"{address}/library/app:1")
    engine.run("docker", "rmi", f"{address}/library/app:1")
    yield engine, proxy.stdout, address
    for process in (registry, proxy):
        os.kill(child_of(process.pid), signal.SIGKILL)
        process.communicate()


def test_one_resolver_for_everything(site: tuple[Engine, Iterator[str], str], tmp_path: Path) -> None:
    engine, asked, address = site
    engine.run("docker", "pull", "-q", "app:1")  # by the mirror of Docker Hub
    assert engine.run("docker", "image", "inspect", "-f", "{{.Id}}", "app:1").stdout.strip() == SAMPLE.id
    engine.run("docker", "create", "reg.invalid/team/app:1", "x")  # by hosts.toml, and rewritten there
    (tmp_path / "Dockerfile").write_text("FROM reg.invalid/team/app:1\nENV A=b\n")
    engine.run("docker", "rmi", "-f", "reg.invalid/team/app:1", "app:1")
    engine.run("env", "DOCKER_BUILDKIT=0", "docker", "build", "-q", str(tmp_path))
    refused = engine.run("docker", "pull", "bad.invalid/x", check=False)
    assert "blocked" in refused.stderr
    refused = engine.run(
        "docker", "pull", "plain.invalid/x", check=False
    )  # by the proxy, without TLS at last
    assert refused.returncode == 1
    assert next(asked).startswith("CONNECT plain.invalid:443 ")
    assert next(asked).startswith("GET http://plain.invalid/v2/ ")
    told = engine.run("docker", "info").stdout
    assert f"http://{address}/" in told and "HTTP Proxy: http://127.0.0.1" in told and "plain.invalid" in told


def test_nobody_is_asked_offline(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    engine = new_engine(None, "--offline")
    refused = engine.run("docker", "pull", "reg.invalid/x", check=False)
    assert "cannot reach registry reg.invalid: the engine runs with --offline" in refused.stderr
    (tmp_path / "Dockerfile").write_text("FROM reg.invalid/x\n")
    refused = engine.run("env", "DOCKER_BUILDKIT=0", "docker", "build", str(tmp_path), check=False)
    assert "the engine runs with --offline" in refused.stderr
