"""Hostile images and containers, made from busybox, on a real engine."""

import json
import subprocess
import uuid
from pathlib import Path

import pytest

from corten.snapshots.tar_reader import TarEntry
from engine import Engine
from imagefiles import config, directory, docker_archive, symlink, tar

_BUSYBOX = Path("/bin/busybox")
_APPLETS = """
    sh cat echo sleep true false ls ps id env pwd head tail kill test touch rm mkdir rmdir mount umount grep
    sed stty stat cut sort tr chmod chown ln cp mv readlink mknod mkfifo seq unshare chroot find dd yes usleep
""".split()  # noqa: SIM905
_DIRECTORIES = ("bin", "etc", "proc", "sys", "dev", "tmp", "root")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000::/:/bin/sh\n"


def busybox(*members, passwd=PASSWD, without="", **settings):
    """A docker-archive of busybox, what else is given (as for imagefiles.tar) and these config settings.

    without: a directory to leave out, because `members` have something else in its place.
    """
    plain = [directory(name) for name in _DIRECTORIES if name != without]
    plain.append((TarEntry(b"bin/busybox", mode=0o755), _BUSYBOX.read_bytes()))
    plain += [symlink(f"bin/{name}", "busybox") for name in _APPLETS]
    layer = tar(*plain, ("etc/passwd", passwd), *members)
    document = config(layer, config={"Env": ["PATH=/bin"], "Cmd": ["sh"], **settings})
    return docker_archive((document, [layer], []))


class Attacker:
    """Who has an engine to play with; what it makes goes with `clean()`."""

    def __init__(self, engine: Engine, scratch: Path) -> None:
        self.engine = engine
        self._scratch = scratch
        self.images: list[str] = []

    def load(self, archive: bytes) -> str:
        """Load a docker-archive; returns a name for its image."""
        path = self._scratch / "image.tar"
        path.write_bytes(archive)
        loaded = self.docker("load", "--quiet", "--input", str(path)).stdout
        name = f"hostile-{uuid.uuid4().hex[:8]}"
        self.docker("tag", loaded.partition("Loaded image ID: ")[2].strip(), name)
        self.images.append(name)
        return name

    def image(self, *members, **settings) -> str:
        """An image of `busybox(...)`; returns its name."""
        return self.load(busybox(*members, **settings))

    def docker(self, *arguments: str, check: bool = True, timeout_s: int = 60, stdin=subprocess.DEVNULL):
        """The docker CLI against the engine."""
        command = ["timeout", "-k", "1", str(timeout_s), "docker", "-H", self.engine.docker_host, *arguments]
        done = subprocess.run(
            self.engine.sandbox.command(*command), stdin=stdin, capture_output=True, text=True
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def sh(self, image: str, script: str, *flags: str, check: bool = True):
        """Run a shell script in a container that goes afterwards."""
        return self.docker("run", "--rm", "--net=none", *flags, image, "sh", "-c", script, check=check)

    def create(self, image: str, *command: str, host: dict | None = None, **settings) -> str:
        """Create a container by HTTP; returns its id."""
        body = {"Image": image, "Cmd": list(command), **settings}
        body["HostConfig"] = {"NetworkMode": "none", **(host or {})}
        status, answer = self.engine.request("POST", "/containers/create", body)
        assert status == 201, answer
        return json.loads(answer)["Id"]

    def start(self, container: str) -> tuple[int, str]:
        """(status, text) of starting it."""
        status, answer = self.engine.request("POST", f"/containers/{container}/start")
        return status, answer.decode()

    def exec(self, container: str, *command: str, **settings) -> tuple[int, str]:
        """(status, output or error) of a further process, when it has ended."""
        body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **settings}
        status, answer = self.engine.request("POST", f"/containers/{container}/exec", body)
        if status != 201:
            return status, answer.decode()
        path = f"/exec/{json.loads(answer)['Id']}/start"
        status, answer = self.engine.request("POST", path, {"Tty": settings.get("Tty", False)})
        if status != 200 or settings.get("Tty"):
            return status, answer.decode(errors="replace")
        output = b""
        while answer:  # frames: stream, length, data
            length = int.from_bytes(answer[4:8], "big")
            output, answer = output + answer[8 : 8 + length], answer[8 + length :]
        return status, output.decode(errors="replace")

    def wait(self, container: str) -> int:
        """Its exit code, when it has ended."""
        return json.loads(self.engine.request("POST", f"/containers/{container}/wait")[1])["StatusCode"]

    def remove(self, container: str) -> None:
        """Remove it and its volumes."""
        self.engine.request("DELETE", f"/containers/{container}?force=1&v=1")

    def upper(self, container: str) -> Path:
        """The directory that holds what it has written."""
        return self.engine.root / "containers" / container / "upper"

    def clean(self) -> None:
        """Remove every container and image made."""
        for found in json.loads(self.engine.request("GET", "/containers/json?all=1")[1]):
            self.remove(found["Id"])
        for name in self.images:
            self.engine.request("DELETE", f"/images/{name}?force=1")


@pytest.fixture(scope="session")
def attacker_of():
    """The class, for tests with engines of their own."""
    return Attacker


@pytest.fixture
def attacker(engine, tmp_path):
    made = Attacker(engine, tmp_path)
    yield made
    made.clean()


@pytest.fixture
def attack(new_engine, tmp_path):
    """As `attacker`, on an engine of the test's own: for attacks that would break it."""
    return Attacker(new_engine(), tmp_path)


@pytest.fixture(scope="session")
def plain(engine, tmp_path_factory):
    """The name of an image with nothing evil in it, on the shared engine."""
    made = Attacker(engine, tmp_path_factory.mktemp("plain"))
    yield made.image()
    made.clean()


@pytest.fixture(scope="session")
def plain_archive():
    """A docker-archive of it, for engines of a test's own."""
    return busybox()


@pytest.fixture(scope="session")
def tool(tmp_path_factory):
    """A member for images: bin/tool, see tool.c."""
    return compiled("tool", tmp_path_factory.mktemp("tool"))


@pytest.fixture(scope="session")
def probe(tmp_path_factory):
    """A member for images: bin/probe, see probe.c."""
    return compiled("probe", tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="session")
def reach(tmp_path_factory):
    """A member for images: bin/reach, see reach.c."""
    return compiled("reach", tmp_path_factory.mktemp("reach"))


@pytest.fixture(scope="session")
def hold(tmp_path_factory):
    """A member for images: bin/hold, see hold.c."""
    return compiled("hold", tmp_path_factory.mktemp("hold"))


def compiled(name, directory):
    """NAME.c beside this file as an executable bin/NAME for an image."""
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(["gcc", "-static", "-Os", "-w", "-o", directory / name, source], check=True)
    return TarEntry(f"bin/{name}".encode(), mode=0o4755), (directory / name).read_bytes()
