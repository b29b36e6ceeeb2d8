"""Dockerfiles in the shape of ten kinds of real projects build and run.

The base images have the names of the real ones. What is in them stands in for those: busybox, this machine's
own Python and C compiler as its Debian packages have them, and for servers scripts that say what they were
told to do. The Dockerfiles use what such projects use.
"""

import io
import json
import os
import shutil
import subprocess
import tarfile
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
    "nginx": 'cat /etc/nginx/conf.d/*; ls /usr/share/nginx/html; echo "nginx $*"',
    "redis-server": 'stat -c "%u:%g" .; echo "redis with $(cat $1)"',
    "docker-entrypoint.sh": 'for f in /docker-entrypoint-initdb.d/*; do case $f in *.sh) $f;; *) cat $f;; esac; done; exec "$@"',
    "postgres": 'echo "postgres serves $POSTGRES_DB"',
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
def images(engine, tmp_path_factory):
    """The base images; gone when the module is done."""
    folder = tmp_path_factory.mktemp("roots")
    python = root(PYTHON, **{"usr/bin/python3": "python3.11"})
    tools = {f"usr/bin/{name}": f"x86_64-linux-gnu-{name}" for name in ("as", "ld", "strip")}
    compiler = root(COMPILER, **{"usr/bin/gcc": "gcc-12"}, **tools)
    plain = root()
    named = {"python:3-slim": python, "gcc:12": compiler}
    named["debian:bookworm-slim"] = plain
    settings = ["-c", "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin:/sbin", "-c", 'CMD ["sh"]']
    entry = ["-c", 'ENTRYPOINT ["docker-entrypoint.sh"]', "-c", 'CMD ["postgres"]']
    for name, content in {**named, "postgres:16": plain}.items():
        (folder / "root.tar").write_bytes(content)
        changes = settings + (entry if name == "postgres:16" else [])
        engine.run("docker", "import", *changes, str(folder / "root.tar"), name)
    alike = ("node:20-slim", "nginx:alpine", "redis:7")
    for name in alike:
        engine.run("docker", "tag", "debian:bookworm-slim", name)
    made = [*named, "postgres:16", *alike]
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


def test_static_site(project, engine):
    text = project("static-site")([])
    assert "root /usr/share/nginx/html" in text
    assert text.endswith("css\nindex.html\nnginx -g daemon off;\n")
    assert inspected(engine, "project-static-site")["StopSignal"] == "SIGQUIT"


def test_postgres(project, engine):
    assert project("postgres")([]) == "CREATE TABLE t (id int);\nseeding app\npostgres serves app\n"
    assert inspected(engine, "project-postgres")["Volumes"] == {"/var/lib/postgresql/data": {}}


def test_redis(project):
    assert project("redis")([]) == "999:999\nredis with maxmemory 64mb\n"


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
