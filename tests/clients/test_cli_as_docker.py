"""`corten` says and sends what the real `docker` CLI does: both run on the same engine and are compared."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCKER = [shutil.which("docker") or "docker"]
CORTEN = [sys.executable, "-I", "-S", str(TESTS.parent / "src/corten/cli/__main__.py")]


def _load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fake_engine = _load("fake_engine", TESTS / "unit/cli/fake_engine.py")
comparison = _load("docker_comparison", Path(__file__).with_name("docker_comparison.py"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("as-docker")
    (folder / "env").write_text("# comment\nA=1\nHOME\nNOPE\n  B=x y\n")
    (folder / "labels").write_text("l1=v\nl2\n")
    (folder / "seccomp.json").write_text('{ "defaultAction": "SCMP_ACT_ALLOW",\n "x": [1, 2] }')
    fake = fake_engine.FakeEngine(folder / "s", comparison.DOCUMENTS)
    fake.streams = comparison.STREAMS
    fake.folder = folder
    yield fake
    fake.close()


def run(engine, program, line):
    env = {"PATH": os.environ["PATH"], "HOME": str(engine.folder), "DOCKER_HOST": engine.host, "TZ": "UTC"}
    words = shlex.split(line.replace("@D", str(engine.folder)))
    before = len(engine.requests)
    done = subprocess.run(
        [*program, *words],
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    created = [r for r in engine.requests[before:] if r[1] == "/containers/create"]
    engine.forget_containers()
    errors = (
        done.stderr.replace("docker: ", "corten: ").replace("docker ", "corten ").replace("Docker", "Corten")
    )
    return done.returncode, done.stdout, errors, created[0] if created else None


@pytest.mark.parametrize("line", comparison.OUTPUTS.strip().splitlines())
def test_output(engine, line):
    theirs, ours = run(engine, DOCKER, line), run(engine, CORTEN, line)
    assert ours[:3] == theirs[:3]


def without_defaults(value):
    """Docker sends every field, we send what was asked for: what both mean."""
    if isinstance(value, dict):
        kept = {key: without_defaults(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, 0, "", [], {}, False)}
    return [without_defaults(item) for item in value] if isinstance(value, list) else value


def meaning(request):
    if request is None:
        return None
    body = json.loads(request[4])
    host = body.get("HostConfig", {})
    for field, default in (
        ("NetworkMode", "default"),
        ("RestartPolicy", {"Name": "no", "MaximumRetryCount": 0}),
        ("ConsoleSize", [0, 0]),
        ("MemorySwappiness", -1),
    ):
        if host.get(field) == default:
            del host[field]
    body["Env"] = sorted(body.get("Env") or [])
    host["Binds"] = sorted(host.get("Binds") or [])
    for field in ("Volumes", "ExposedPorts"):
        body[field] = sorted(body.get(field) or [])
    host["Tmpfs"] = sorted((host.get("Tmpfs") or {}).items())
    return request[2], without_defaults(body)


@pytest.mark.parametrize("line", comparison.BODIES.strip().splitlines())
def test_create(engine, line):
    theirs, ours = run(engine, DOCKER, line), run(engine, CORTEN, line)
    assert meaning(ours[3]) == meaning(theirs[3])
    assert (ours[0], ours[2]) == (theirs[0], theirs[2])
