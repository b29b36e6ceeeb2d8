"""Dockerfiles in the shape of ten kinds of real projects build and run.

The base images have the names of the real ones. In them are busybox, this machine's own Python and C compiler
as its Debian packages have them, and Debian's nginx, redis and postgres. Only node and npm are scripts that
stand in: a real `npm ci` needs a registry. The Dockerfiles use what such projects use.
"""

import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

PROJECTS = Path(__file__).with_name("projects")
CORTEN = [os.sys.executable, "-I", "-S", str(PROJECTS.parents[2] / "src/corten/cli/__main__.py")]
PYTHON = ["passwd", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"]
COMPILER = ["gcc-12", "cpp-12", "libgcc-12-dev", "libc6-dev", "linux-libc-dev", "binutils-x86-64-linux-gnu"]
USERS = "root:x:0:0::/root:/bin/sh\nnode:x:1001:1001::/:/bin/sh\n"
SCRIPTS = {
    "npm": 'mkdir node_modules; grep -o "node_modules/[a-z-]*" package-lock.json | xargs mkdir; echo added',
    "node": 'echo "node runs $*: $(ls node_modules src | tr "\\n" " ")"',
}


def files_of(packages):
    """What installed packages consist of."""
    listed = subprocess.run(["dpkg", "-L", *packages], capture_output=True, text=True)
    return [path for path in listed.stdout.splitlines() if os.path.lexists(path) and not os.path.isdir(path)]


def with_libraries(paths):
    """The files and the shared libraries that programs among them need."""
    found = set(paths)
    for path in paths:
        if os.access(path, os.X_OK) and not os.path.islink(path):
            listed = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
            found |= {word for word in listed.split() if word.startswith("/")}
    return sorted(found)


def root(packages=(), **links):
    """A tar: busybox with its applets, the packages, the scripts, and links."""
    buffer = io.BytesIO()
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(fileobj=buffer, mode="w", dereference=False) as tar:
        for name in (
            "bin",
            "dev",
            "etc",
            "lib",
            "proc",
            "root",
            "sys",
            "tmp",
            "usr/bin",
            "var/log",
            "out",
            "sbin",
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(shutil.which("busybox"), "bin/busybox")
        texts = {"etc/passwd": USERS, "etc/group": "root:x:0:\nnode:x:1001:\n"}
        texts |= {f"usr/local/bin/{name}": f"#!/bin/sh\n{script}\n" for name, script in SCRIPTS.items()}
        for name, text in texts.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
        links |= {f"bin/{name}": "busybox" for name in applets if name != "busybox"}
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        for path in with_libraries(files_of(packages)):
            # Directories of the root that are links on the machine (/lib) are real ones here.
            tar.add(os.path.realpath(path), path.lstrip("/")) if "/lib" in path else tar.add(path, path[1:])
    return buffer.getvalue()


@pytest.fixture(scope="module")
def images(engine, server_images, tmp_path_factory):
    """The base images; gone when the module is done."""
    folder = tmp_path_factory.mktemp("roots")
    python = root(PYTHON, **{"usr/bin/python3": "python3.11"})
    tools = {f"usr/bin/{name}": f"x86_64-linux-gnu-{name}" for name in ("as", "ld", "strip")}
    compiler = root(COMPILER, **{"usr/bin/gcc": "gcc-12"}, **tools)
    plain = root()
    named = {"python:3-slim": python, "gcc:12": compiler}
    named["debian:bookworm-slim"] = plain
    settings = ["-c", "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin:/sbin", "-c", 'CMD ["sh"]']
    for name, content in named.items():
        (folder / "root.tar").write_bytes(content)
        engine.run("docker", "import", *settings, str(folder / "root.tar"), name)
    engine.run("docker", "tag", "debian:bookworm-slim", "node:20-slim")
    made = [*named, "node:20-slim"]
    yield plain
    engine.run("docker", "rmi", "-f", *made, check=False)


@pytest.fixture
def project(engine, images, tmp_path):
    """project(name, *flags): build it with `corten build`; run(*flags): what it prints."""
    tags = []

    def build(name, *flags, tag="", **environment):
        tag = tag or f"project-{name.replace('/', '-')}"
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(PROJECTS / name, folder)
        if name == "scratch":
            (folder / "rootfs.tar").write_bytes(images)
        command = [*CORTEN, "-H", engine.docker_host, "build", "-t", tag, *flags, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr
        tags.append(tag)

        def run(*arguments):
            return engine.run("docker", "run", "--rm", *arguments[:-1], tag, *arguments[-1:][0]).stdout

        return run

    yield build
    engine.run("docker", "rmi", "-f", *tags, check=False)


@pytest.fixture
def service(engine, project):
    """service(name, *flags): build it and run it in the background; ask(*flags, [command]): what that prints in it.

    A question is asked until it succeeds, because servers come up in their own time.
    """
    started = []

    def start(name, *flags):
        project(name)
        container = engine.run("docker", "run", "-d", *flags, f"project-{name}").stdout.strip()
        started.append(container)

        def ask(*flags, command):
            deadline = time.monotonic() + 60
            while (done := engine.run("docker", "exec", *flags, container, *command, check=False)).returncode:
                logs = engine.run("docker", "logs", container)
                assert time.monotonic() < deadline, f"{done.stderr}\n{logs.stdout}\n{logs.stderr}"
                time.sleep(0.1)
            return done.stdout

        return ask

    yield start
    engine.run("docker", "rm", "-fv", *started, check=False)


def exit_code_of_stop(engine):
    container = engine.run("docker", "ps", "-lq").stdout.strip()
    engine.run("docker", "stop", "-t", "30", container)
    return int(engine.run("docker", "inspect", "-f", "{{.State.ExitCode}}", container).stdout)


def inspected(engine, name):
    (document,) = json.loads(engine.run("docker", "image", "inspect", name).stdout)
    return document["Config"]


def test_flask(project, engine):
    run = project("flask")
    ask = "python3 -m gunicorn --bind 127.0.0.1:8000 app:app & until wget -qO- http://127.0.0.1:8000/; do sleep 0.1; done"
    assert run(["sh", "-c", ask]) == "hello from uid 1000\n"
    assert inspected(engine, "project-flask")["Healthcheck"]["Retries"] == 3


def test_node(project):
    assert project("node")([]) == "node runs src/index.js: node_modules: left-pad  src: index.js \n"


def test_compiled(project):
    assert project("compiled", "--build-arg=VERSION=1.2")([]) == "hello 1.2 on linux/amd64\n"


def test_static_site(service, engine):
    ask = service("static-site")
    assert ask(command=["wget", "-qO-", "http://127.0.0.1/"]) == "<h1>site</h1>\n"
    assert "Content-Type: text/css" in ask(
        command=["sh", "-c", "wget -SO- http://127.0.0.1/css/style.css 2>&1"]
    )
    assert inspected(engine, "project-static-site")["StopSignal"] == "SIGQUIT"
    assert exit_code_of_stop(engine) == 0


def test_postgres(service, engine):
    ask = service("postgres", "-e", "POSTGRES_PASSWORD=pw")
    # The scripts have run when it listens: while they do, it is at its unix socket only.
    query = ["psql", "-h", "127.0.0.1", "-U", "app", "-Atc", "SELECT id, current_database() FROM t"]
    assert ask("-e", "PGPASSWORD=pw", command=query) == "42|app\n"
    assert inspected(engine, "project-postgres")["Volumes"] == {"/var/lib/postgresql/data": {}}
    assert exit_code_of_stop(engine) == 0


def test_redis(service):
    ask = service("redis")
    assert ask(command=["redis-cli", "config", "get", "maxmemory"]) == "maxmemory\n67108864\n"
    assert ask(command=["stat", "-c", "%u:%g", "."]) == "999:999\n"


def test_django(project):
    run = project("django", "--secret=id=django,env=KEY", KEY="s3cr3t")
    assert run([]) == "project runserver\n"
    listing = "find . -type f | sort; id -u; cat static/manifest"
    assert run("--entrypoint=sh", ["-c", listing]).splitlines()[:5] == [
        "./manage.py",
        "./project/app/models.py",
        "./project/settings.py",
        "./static/manifest",
        "10001",
    ]


def test_cron(project):
    assert project("cron")([]) == "job done\n"


def test_scratch(project):
    assert project("scratch")([]) == "hello from scratch\n"


def test_onbuild(project, engine):
    project("onbuild/base", tag="onbuild-base")
    assert project("onbuild/app")([]) == "wheel app\n"
    assert not inspected(engine, "project-onbuild-app").get("OnBuild")
