"""What commands of a build may do on a real engine: ssh agents, privileges, devices, limits."""

import io
import json
import socket
import subprocess
import tarfile
import threading
import uuid
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest


class UnixConnection(HTTPConnection):
    def __init__(self, path):
        super().__init__("engine")
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


TALK = Path(__file__).with_name("talk.c")
BUSYBOX = """
FROM scratch AS busybox
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""


@pytest.fixture(scope="session")
def talk(tmp_path_factory):
    program = tmp_path_factory.mktemp("talk") / "talk"
    subprocess.run(["gcc", "-static", "-Os", "-w", "-o", program, TALK], check=True)
    return program


@pytest.fixture
def build(engine, talk):
    """build(dockerfile, **query): the stream's text and error; the image goes again."""
    tags = []

    def run(dockerfile, prologue=None, **query):
        tag = f"built-{len(tags)}"
        tags.append(tag)
        head = json.dumps(prologue).encode() if prologue else b""
        fields = {"t": tag, "nocache": 1, **({"prologue": len(head)} if head else {}), **query}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo("Dockerfile")
            text = (BUSYBOX + dockerfile).encode()
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
            tar.add("/bin/busybox", "busybox")
            tar.add(talk, "talk")
        connection = UnixConnection(engine.socket)
        connection.request("POST", f"/build?{urlencode(fields, doseq=True)}", head + buffer.getvalue())
        answer = connection.getresponse().read().decode()
        connection.close()
        messages = [json.loads(line) for line in answer.splitlines() if line]
        errors = [message.get("error") or message.get("message") for message in messages]
        return "".join(m.get("stream", "") for m in messages), next(filter(None, errors), None)

    yield run
    for tag in tags:
        engine.run("corten", "rmi", tag, check=False)


def test_insecure_commands(build):
    dockerfile = "FROM busybox\nRUN --security=insecure grep CapEff /proc/self/status; mkdir /mnt && mount -t tmpfs x /mnt && echo mounted\n"
    text, error = build(dockerfile, allow="security.insecure")
    assert error is None
    assert "mounted" in text
    text, error = build(dockerfile)
    assert error == "security.insecure is not allowed: grant it with --allow security.insecure"


def test_ssh_agents(build, tmp_path):
    path = tmp_path / "agent"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer():
        connection, _ = listener.accept()
        connection.sendall(b"agent got " + connection.recv(100))
        connection.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    dockerfile = (
        "FROM busybox\nCOPY talk /bin/talk\nUSER 7\n"
        "RUN --mount=type=ssh,uid=7 talk $SSH_AUTH_SOCK hello; ls -ln $SSH_AUTH_SOCK\n"
        "RUN test ! -e /run/buildkit\n"
    )
    text, error = build(dockerfile, {"ssh": {"default": str(path)}})
    thread.join(5)
    listener.close()
    assert error is None
    assert "agent got hello" in text
    assert "srw-------    1 7        0" in text
    text, error = build("FROM busybox\nRUN --mount=type=ssh,required true\n")
    assert error == "unset ssh forward key default"


def test_limits(build):
    text, error = build(
        "FROM busybox\nRUN ulimit -n; df -k /dev/shm | tail -1; cat /etc/hosts; cat /proc/self/cgroup\n",
        ulimits=json.dumps([{"Name": "nofile", "Soft": 123, "Hard": 456}]),
        shmsize=1 << 20,
        extrahosts="else:1.2.3.4",
        cgroupparent="/built-here",
    )
    assert error is None
    lines = text.splitlines()
    assert "123" in lines
    assert any(line.split()[1:2] == ["1024"] for line in lines if line.startswith("shm"))
    assert "1.2.3.4\telse" in text


def test_commands_are_not_preferred_to_others_on_the_host(build):
    text, error = build("FROM busybox\nRUN echo nice $(cut -d' ' -f19 /proc/self/stat)\n")
    assert error is None
    assert "nice 0\n" in text


def test_devices(build, tmp_path):
    text, error = build("FROM busybox\nRUN --device=vendor.com/x=none true\n", allow="device")
    assert error is None
    text, error = build("FROM busybox\nRUN --device=vendor.com/x=none,required true\n", allow="device")
    assert error == "CDI device injection failed: unresolvable CDI devices vendor.com/x=none"
    text, error = build("FROM busybox\nRUN --device=vendor.com/x=none true\n")
    assert error.startswith("device=vendor.com/x=none is not allowed")


SHOW = "ip -4 -o addr show dev eth0"


def addresses(text):
    return [line.split()[3] for line in text.splitlines() if " eth0 " in line and " inet " in line]


def test_commands_of_a_build_have_one_address_after_another(build, engine):
    def containers():
        return json.loads(engine.request("GET", "/networks/bridge")[1])["Containers"]

    before = containers()
    text, error = build(f"FROM busybox\nRUN {SHOW}\nRUN {SHOW} | tee /shown\nRUN {SHOW}\n")
    assert error is None
    assert len(addresses(text)) == 3
    assert len(set(addresses(text))) == 1
    assert containers() == before, "given back at the end of the build"
    assert build(f"FROM busybox\nRUN {SHOW}\nRUN exit 3\n")[1]
    assert containers() == before


def test_commands_at_the_same_time_have_addresses_of_their_own(build):
    """Each shows its own when the other one runs, too: they meet in a cache mount."""
    meet = "touch /met/{name} && until [ -e /met/a ] && [ -e /met/b ]; do sleep 0.05; done"
    mount = f"--mount=type=cache,target=/met,id={uuid.uuid4()}"
    stages = "".join(
        f"FROM busybox AS {name}\nRUN {mount} {meet.format(name=name)}; {SHOW}\n" for name in "ab"
    )
    both = "--mount=from=a,target=/a --mount=from=b,target=/b"
    text, error = build(f"{stages}FROM busybox\nRUN {both} true\n")
    assert error is None
    assert len(set(addresses(text))) == 2
