"""Volumes that are encrypted on the disk (gocryptfs), as users and their engine's disk see them."""

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recording.session import Session

from engine import Engine

CORTEN = str(Path(sys.executable).with_name("corten"))
KEY = "a key that nobody guesses"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not os.path.exists("/dev/fuse"),
        reason="this machine has no /dev/fuse, which gocryptfs needs",
    ),
]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    file.chmod(0o400)
    return file


@pytest.fixture
def secret(engine: Engine, session: Session, key: Path) -> Iterator[Engine]:
    """An engine with an encrypted volume `sec`."""
    session.clean()
    engine.run("docker", "volume", "create", "-o", f"encrypt=file:{key}", "sec")
    yield engine
    session.clean()
    await_end(engine)


def sh(engine: Engine, volume: str, script: str, *, check: bool = True):
    return engine.run(
        "docker", "run", "--rm", "-v", f"{volume}:/v", "busybox", "sh", "-c", script, check=check
    )


def daemons(engine: Engine) -> dict[int, list[bytes]]:
    """The processes of gocryptfs in the engine's sandbox: argv by pid, as the test sees them."""
    found = {}
    namespace = os.readlink(f"/proc/{engine.sandbox.pid}/ns/pid")
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                argv = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                if argv[0].endswith(b"gocryptfs"):
                    found[int(entry)] = argv
        except OSError:
            continue
    return found


def await_end(engine: Engine, kill: bool = False) -> None:
    """Wait until no gocryptfs runs: each ends by itself, soon after its mount has gone."""
    for pid in daemons(engine):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if kill:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            assert select.select([fd], [], [], 20)[0], "gocryptfs does not end"
        finally:
            os.close(fd)


def mounted(engine: Engine, volume: str) -> bool:
    return f"/volumes/{volume}/_data " in engine.run("cat", "/proc/self/mountinfo").stdout


def settled(engine: Engine, volume: str) -> None:
    """What is in the background has happened: only then is a volume renamed."""
    engine.run(CORTEN, "volume", "rename", volume, f"{volume}-")
    engine.run(CORTEN, "volume", "rename", f"{volume}-", volume)


def everything(folder: Path) -> bytes:
    """Names and contents of all regular files below."""
    return b"".join(str(p).encode() + (p.read_bytes() if p.is_file() else b"") for p in folder.rglob("*"))


def test_the_disk_sees_neither_names_nor_contents(secret: Engine) -> None:
    sh(secret, "sec", "echo treasure >/v/island; mkdir /v/d; chown 7:8 /v/d")
    assert sh(secret, "sec", "cat /v/island; stat -c %u:%g /v/d").stdout == "treasure\n7:8\n"
    settled(secret, "sec")
    assert not mounted(secret, "sec")
    folder = secret.root / "volumes/sec"
    seen = everything(folder)
    assert b"treasure" not in seen and b"island" not in seen and (folder / "cipher").is_dir()
    sizes = secret.run(CORTEN, "volume", "du").stdout
    assert "N/A" not in next(line for line in sizes.splitlines() if "sec" in line)


def test_it_is_filled_from_the_image_and_belongs_to_other_users_too(secret: Engine) -> None:
    run = ["docker", "run", "--rm", "-v", "sec:/etc"]
    assert "root:" in secret.run(*run, "busybox", "cat", "/etc/passwd").stdout
    secret.run(*run, "busybox", "chmod", "777", "/etc")
    secret.run(*run, "-u", "1234:99", "busybox", "sh", "-c", "echo x >/etc/mine; ln -s a /etc/l")
    assert secret.run(*run, "busybox", "stat", "-c", "%u:%g", "/etc/mine").stdout == "1234:99\n"


def test_the_key_is_nowhere_but_in_its_file(secret: Engine) -> None:
    secret.run("docker", "run", "-d", "--name", "user", "-v", "sec:/v", "busybox", "sleep", "60")
    assert mounted(secret, "sec")
    running = daemons(secret)
    assert running
    for pid, argv in running.items():
        assert KEY.encode() not in b" ".join(argv) + Path(f"/proc/{pid}/environ").read_bytes()
    shown = secret.run("docker", "volume", "inspect", "sec").stdout
    assert "encrypt" in shown and KEY not in shown
    assert KEY not in secret.log.read_text()
    for file in secret.root.glob("*"):  # the ledger and its journal
        assert not file.is_file() or KEY.encode() not in file.read_bytes()
    assert "cipher" not in secret.run("docker", "exec", "user", "cat", "/proc/mounts").stdout


def test_another_key_does_not_open_it(secret: Engine, key: Path) -> None:
    sh(secret, "sec", "true")
    settled(secret, "sec")
    key.chmod(0o600)
    key.write_text("another\n")
    refused = sh(secret, "sec", "true", check=False)
    assert refused.returncode == 125 and "failed to mount local volume" in refused.stderr
    assert "wrong key" in refused.stderr and "another" not in refused.stderr
    key.unlink()
    assert "no such file or directory" in sh(secret, "sec", "true", check=False).stderr
    assert not mounted(secret, "sec")


def test_what_is_no_key_is_refused_in_time(secret: Engine, key: Path, tmp_path: Path) -> None:
    def refused(option: str, *more: str) -> str:
        done = secret.run("docker", "volume", "create", "-o", f"encrypt={option}", *more, "no", check=False)
        assert done.returncode
        return done.stderr

    assert "must be file:/PATH or program:NAME" in refused("yes")
    assert "must be file:/PATH or program:NAME" in refused("file:key")
    assert "must be file:/PATH or program:NAME" in refused("program:../sh")
    assert "no such file" in refused(f"file:{tmp_path}/nosuch")
    assert "cannot be combined" in refused(f"file:{key}", "-o", "size=1g")
    key.chmod(0o444)
    assert "open to everybody" in refused(f"file:{key}")
    key.chmod(0o600)
    key.write_text("")
    assert "one line" in refused(f"file:{key}")
    assert "no regular file" in refused(f"file:{tmp_path}")
    os.mkfifo(tmp_path / "fifo")
    assert "no regular file" in refused(f"file:{tmp_path}/fifo")


def test_it_is_exported_in_plain_and_cloned_as_it_is(secret: Engine) -> None:
    sh(secret, "sec", "echo treasure >/v/island")
    secret.run(CORTEN, "volume", "clone", "sec", "twin")
    assert sh(secret, "twin", "cat /v/island").stdout == "treasure\n"
    assert b"treasure" not in everything(secret.root / "volumes/twin/cipher")
    file = secret.directory / "sec.tar"
    secret.run("docker", "run", "-d", "--name", "user", "-v", "sec:/v", "busybox", "sleep", "60")
    refused = secret.run(CORTEN, "volume", "export", "-o", str(file), "sec", check=False)
    assert "exported without pause" in refused.stderr
    secret.run(CORTEN, "volume", "export", "--pause=false", "-o", str(file), "sec")
    assert b"treasure" in file.read_bytes()
    file.unlink()


def test_a_dead_process_is_replaced_for_the_next_container(secret: Engine) -> None:
    sh(secret, "sec", "echo treasure >/v/island")
    secret.run("docker", "run", "-d", "--name", "user", "-v", "sec:/v", "busybox", "sleep", "60")
    await_end(secret, kill=True)
    assert sh(secret, "sec", "cat /v/island").stdout == "treasure\n"
    secret.run("docker", "restart", "-t", "0", "user")
    assert secret.run("docker", "exec", "user", "cat", "/v/island").stdout == "treasure\n"
    secret.run("docker", "rm", "-f", "user")
    secret.run("docker", "volume", "rm", "sec")
    assert not mounted(secret, "sec")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """docker-credential-test, with the key of the volume `sec`."""
    file = tmp_path / "bin/docker-credential-test"
    file.parent.mkdir()
    file.write_text(
        "#!/bin/sh\nread item\n[ $1 = get ] && [ $item = corten-volume/sec ] || { echo no; exit 1; }\n"
        f'echo \'{{"ServerURL": "x", "Username": "y", "Secret": "{KEY}"}}\'\n'
    )
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    return file


def test_a_credential_program_has_the_key(program: Path, engine_with_busybox: Callable[..., Engine]) -> None:
    engine = engine_with_busybox()
    for name in ("sec", "other"):
        engine.run("docker", "volume", "create", "-o", "encrypt=program:test", name)
    assert sh(engine, "sec", "echo x >/v/f; cat /v/f").stdout == "x\n"
    assert "has no key for corten-volume/other" in sh(engine, "other", "true", check=False).stderr
    refused = engine.run(CORTEN, "volume", "rename", "sec", "new", check=False)
    assert "its key is kept under its name" in refused.stderr


def test_it_outlives_a_killed_engine_and_leaves_nothing(
    key: Path, engine_with_busybox: Callable[..., Engine]
) -> None:
    engine = engine_with_busybox()
    engine.run("docker", "volume", "create", "-o", f"encrypt=file:{key}", "sec")
    engine.run("docker", "run", "-d", "--name", "user", "-v", "sec:/v", "busybox", "sleep", "60")
    engine.run("docker", "exec", "user", "sh", "-c", "echo treasure >/v/island")
    before = daemons(engine)
    engine.kill()
    engine.start()
    assert engine.run("docker", "exec", "user", "cat", "/v/island").stdout == "treasure\n"
    assert sh(engine, "sec", "cat /v/island").stdout == "treasure\n" and daemons(engine) == before
    engine.run("docker", "rm", "-f", "user")
    settled(engine, "sec")
    assert not mounted(engine, "sec")
    # nobody holds it, but it was mounted when the engine ended: the next one sweeps
    engine.run("docker", "run", "-d", "--name", "user", "-v", "sec:/v", "busybox", "sleep", "60")
    pid = engine.run("docker", "inspect", "-f", "{{.State.Pid}}", "user").stdout.strip()
    engine.kill()
    engine.run("kill", "-9", pid)
    engine.start()
    assert not mounted(engine, "sec")
    engine.run("docker", "rm", "user")
    engine.run("docker", "volume", "rm", "sec")
    assert not os.listdir(engine.root / "volumes")
    await_end(engine)
