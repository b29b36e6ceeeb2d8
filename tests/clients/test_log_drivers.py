"""Log drivers through the docker CLI: what servers get, and that `docker logs` always works."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from recording.session import Session

from engine import Engine


class Docker:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, *arguments: str) -> str:
        return self.engine.run("docker", *arguments).stdout

    def fails(self, *arguments: str) -> str:
        done = self.engine.run("docker", *arguments, check=False)
        assert done.returncode, done.stdout
        return done.stderr


@pytest.fixture
def docker(engine: Engine, session: Session) -> Iterator[Docker]:
    session.clean()
    yield Docker(engine)
    session.clean()


def run(driver: str, *options: str, script: str = "echo out; echo err >&2") -> list[str]:
    given = [word for option in options for word in ("--log-opt", option)]
    return ["run", "--name", "talks", "--log-driver", driver, *given, "busybox", "sh", "-c", script]


def received(sock: socket.socket, count: int) -> list[bytes]:
    sock.settimeout(20)
    return [sock.recv(65536) for _ in range(count)]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket of the kind that /dev/log is."""
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        yield path, sock


def test_syslog_and_logs_besides(docker: Docker, local: tuple[str, socket.socket]) -> None:
    path, sock = local
    options = [f"syslog-address=unixgram://{path}", "tag=app/{{.Name}}", "syslog-facility=local1"]
    docker(*run("syslog", *options))
    lines = sorted(received(sock, 2))
    assert lines[0].startswith(b"<139>") and lines[0].endswith(b": err\n")
    assert lines[1].startswith(b"<142>") and b" app/talks[" in lines[1]
    assert docker("logs", "talks") == "out\n"
    assert docker("inspect", "-f", "{{.LogPath}}", "talks") == "\n"


def test_a_server_that_is_not_there_is_told_at_start(docker: Docker) -> None:
    words = docker.fails(*run("syslog", "syslog-address=tcp://127.0.0.1:9"))
    assert "failed to initialize logging driver: dial tcp 127.0.0.1:9: connection refused" in words
    assert docker("ps", "-aq", "--filter", "status=created")


def test_fluentd_takes_what_comes(docker: Docker, tmp_path: Path) -> None:
    path = str(tmp_path / "fluent")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        options = [f"fluentd-address=unix://{path}", "tag=t", "env=COLOUR"]
        docker(*run("fluentd", *options)[:-4], "-e", "COLOUR=red", "busybox", "echo", "out")
        for _ in range(2):  # the first connection only sees whether somebody is there
            connection, _ = listening.accept()
            connection.settimeout(20)
            data = connection.recv(65536)
            connection.close()
            if data:
                break
    assert data.startswith(b"\x94\xa1t\xce") and b"\xa6COLOUR\xa3red" in data and b"\xa3log\xa3out" in data
    assert docker("logs", "talks") == "out\n"


_GELF = "import socket,sys; s=socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1',12201)); print(1,flush=True)"
_GELF += "; import zlib; print(zlib.decompress(s.recv(65536),31).decode(),flush=True)"


def test_gelf_over_udp(docker: Docker) -> None:
    server = docker.engine.popen(sys.executable, "-I", "-c", _GELF)
    assert server.stdout is not None and server.stdout.readline() == "1\n"
    docker(*run("gelf", "gelf-address=udp://127.0.0.1:12201", "labels=x", script="echo out"))
    document = json.loads(server.stdout.readline())
    assert (document["short_message"], document["_container_name"]) == ("out", "talks")
    server.wait()
    server.stdout.close()


def test_the_local_driver_is_read_through_its_compressed_files(docker: Docker) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
    docker(*run("local", "max-size=60k", "max-file=20", script=script))
    assert docker("logs", "talks") == "".join(f"line {n}\n" for n in range(3000))
    assert docker("logs", "--tail", "700", "talks") == "".join(f"line {n}\n" for n in range(2300, 3000))
    ident = docker("inspect", "-f", "{{.Id}}", "talks").strip()
    folder = docker.engine.root / "containers" / ident / "local-logs"
    deadline = time.monotonic() + 20
    while not any(name.endswith(".gz") for name in os.listdir(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_details_show_labels_and_tag(docker: Docker) -> None:
    options = ["labels-regex=^sp", "env=B", "tag={{.ImageName}}"]
    words = run("json-file", *options)
    words[1:1] = ["--label", "spin=up", "--label", "other=1", "-e", "B=c"]
    docker(*words)
    assert docker("logs", "--details", "talks").splitlines()[0] == "B=c,spin=up,tag=busybox out"


@pytest.mark.parametrize(
    ("driver", "option", "text"),
    [
        ("json-file", "nosuch=1", "unknown log opt 'nosuch' for json-file log driver"),
        ("local", "max-file=0", "max-file cannot be less than 1"),
        ("json-file", "mode=odd", "logger: logging mode not supported: odd"),
        (
            "json-file",
            "max-buffer-size=1m",
            "max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        ("syslog", "syslog-facility=nosuch", "invalid syslog facility"),
        ("syslog", "syslog-address=file:///x", "syslog-address should be in form"),
        ("gelf", "tag=x", "gelf-address is a required parameter"),
        ("gelf", "gelf-address=http://x", "gelf-address should be in form udp://address"),
        ("fluentd", "tag={{.Nosuch}}", "template parsing error"),
        ("awslogs", "tag=x", "the logging driver awslogs is not supported by Corten"),
        ("nosuch", "tag=x", 'error looking up logging plugin nosuch: plugin "nosuch" not found'),
    ],
)
def test_what_cannot_work_is_refused(docker: Docker, driver: str, option: str, text: str) -> None:
    assert text in docker.fails(*run(driver, option))


def test_logs_of_a_driver_that_keeps_nothing(docker: Docker, local: tuple[str, socket.socket]) -> None:
    docker(*run("syslog", f"syslog-address=unixgram://{local[0]}", "cache-disabled=true"))
    assert "configured logging driver does not support reading" in docker.fails("logs", "talks")


def test_a_log_writer_that_was_killed_goes_on_sending(
    docker: Docker, local: tuple[str, socket.socket]
) -> None:
    path, sock = local
    script = "echo one; read x; echo two"
    words = run("syslog", f"syslog-address=unixgram://{path}", script=script)
    words[1:1] = ["-di"]
    docker(*words)
    assert received(sock, 1)[0].endswith(b": one\n")
    found = docker.engine.run("sh", "-c", "grep -l corten-logs /proc/[0-9]*/comm").stdout.split()
    docker.engine.run("kill", "-9", *(each.split("/")[2] for each in found))
    docker.engine.run("sh", "-c", "echo | docker attach talks")
    assert received(sock, 1)[0].endswith(b": two\n")
    assert docker("logs", "talks") == "one\ntwo\n"
