"""`corten run` from the outside: bytes, exit codes, streams, signals."""

import os
import signal
import subprocess
import time


def test_output_and_exit_code_are_the_containers(corten):
    done = corten("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)


def test_bytes_arrive_as_they_are(corten):
    blob = bytes(range(256)) * 2000
    done = corten("run", "-i", "busybox", "cat", stdin=blob)
    assert done.stdout == blob
    assert done.returncode == 0


def test_container_sees_the_end_of_stdin(corten):
    done = corten("run", "-i", "--rm", "busybox", "sh", "-c", "wc -c; echo after", stdin=b"abc")
    assert done.stdout.split() == [b"3", b"after"]


def test_detached_prints_the_id(corten, engine):
    done = corten("run", "-d", "--name", "web", "busybox", "sleep", "0")
    assert done.stdout.decode().strip() in engine.containers
    body = engine.last("POST", "/containers/create")[4]
    assert b'"AttachStdout":false' in body


def test_command_not_found_is_127(corten):
    done = corten("run", "--rm", "busybox", "no-such-program")
    assert done.returncode == 127
    assert done.stderr.startswith(b"corten: Error response from daemon: failed to create task")
    assert done.stderr.endswith(b"\n\nRun 'corten run --help' for more information\n")


def test_directory_is_126(corten):
    assert corten("run", "--rm", "busybox", "/tmp").returncode == 126


def test_missing_image_is_pulled_and_says_so(corten):
    done = corten("run", "--rm", "alpine", "echo", "hi")
    assert done.stdout == b"hi\n"
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "Unable to find image 'alpine:latest' locally"
    assert lines[-1] == "Status: Downloaded newer image for alpine:latest"
    assert "0123456789ab: Pull complete" in lines


def test_pull_never_leaves_it(corten):
    done = corten("run", "--pull", "never", "--rm", "alpine", "true")
    assert done.returncode == 125
    assert b"No such image: alpine" in done.stderr


def test_signals_reach_the_container(command, engine):
    words, env = command
    script = "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [*words, "run", "busybox", "sh", "-c", script],
        env=env,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == b"got\n"
    assert process.wait(10) == 3
    process.stdout.close()


def test_first_word_after_the_image_ends_the_flags(corten):
    assert corten("run", "busybox", "echo", "--rm", "-it").stdout == b"--rm -it\n"


def test_terminal_is_refused_for_a_pipe(corten):
    done = corten("run", "-it", "busybox", "true")
    assert b"the input device is not a TTY" in done.stderr


def test_older_engine_names_its_version(corten, engine):
    engine.max_version = 1.41
    assert corten("run", "--rm", "busybox", "echo", "old").stdout == b"old\n"


def test_cidfile(corten, tmp_path, engine):
    path = tmp_path / "cid"
    corten("run", "--cidfile", str(path), "busybox", "true")
    assert path.read_text() in engine.containers
    again = corten("run", "--cidfile", str(path), "busybox", "true")
    assert again.returncode == 125
    assert b"container ID file found" in again.stderr


def test_no_engine(corten, tmp_path):
    done = corten("run", "busybox", CORTEN_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == 125
    text = done.stderr.decode()
    assert f"corten: Cannot connect to the Corten daemon at unix://{tmp_path}/none.sock." in text
    assert "Is the corten daemon running?" in text


def test_terminal_session(command, engine):
    import pty
    import struct
    import termios
    from fcntl import ioctl

    words, env = command
    master, slave = pty.openpty()
    ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [*words, "run", "-it", "busybox", "sh"],
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.write(master, b"stty size; exit 5\n")
    seen = b""
    while b"30 100\r\n" not in seen:
        seen += os.read(master, 4096)
    assert process.wait(10) == 5
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)


def test_detach_keys_leave_it_running(command, engine):
    import pty

    words, env = command
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*words, "run", "-it", "busybox", "sh", "-c", "echo ready; cat"],
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    seen = b""
    while b"ready" not in seen:  # from here on the terminal is raw
        seen += os.read(master, 100)
    os.write(master, b"\x10")
    time.sleep(0.05)
    os.write(master, b"\x11")
    assert process.wait(10) == 0
    (container,) = engine.containers.values()
    assert not container.ended.is_set()
    os.close(slave)
    os.close(master)
