"""Tasks under the supervisor: really started, really ended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from corten.errors import NotFound
from corten.runtimes.protocol import ExecRequest, ExternalRuntime, StartFailed
from supervisor_harness import RIGHTS, harness

pytestmark = pytest.mark.root


async def read_all(fd: int) -> bytes:
    def work() -> bytes:
        data = b""
        while chunk := os.read(fd, 65536):
            data += chunk
        os.close(fd)
        return data

    return await asyncio.to_thread(work)


def test_namespaces_of_another_pid_than_the_tasks_are_not_joined(rootfs: str) -> None:
    async def main() -> None:
        async with harness(rootfs) as h:
            pid = await h.start("donor", ["sleep", "100"])
            namespaces = [{"type": n} for n in ("mount", "ipc", "uts", "network", "cgroup")]
            joining = [*namespaces, {"type": "pid", "path": f"/proc/{pid}/ns/pid"}]
            join = {"changes": {"linux__namespaces": joining}}
            with pytest.raises(StartFailed, match="container donor is not running"):
                await h.start("late", ["true"], peers={"donor": pid + 1}, **join)
            with pytest.raises(StartFailed, match="container gone is not running"):
                await h.start("late", ["true"], peers={"gone": pid}, **join)
            await h.start("late", ["sh", "-c", "ps"], peers={"donor": pid}, **join)
            await h.exit("late")
            assert "sleep 100" in h.log_text("late")

    asyncio.run(main())


def test_exit_code_and_output(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            fd = await h.runtime.attach_output("a", stdout=True, stderr=True)
            await h.start("a", ["sh", "-c", "echo out; echo err >&2; exit 3"])
            ended = await h.exit("a")
            assert (ended.code, ended.oom_killed) == (3, False)
            data = await read_all(fd)
            assert b"\x01\0\0\0\0\0\0\x04out\n" in data
            assert b"\x02\0\0\0\0\0\0\x04err\n" in data
            assert sorted(h.log_text("a").split()) == ["err", "out"]
            assert [t.exit.code for t in await h.runtime.tasks() if t.exit] == [3]
            await h.runtime.forget("a")
            assert await h.runtime.tasks() == []
            assert os.listdir(f"{h.exec_root}/tasks") == []

    asyncio.run(go())


def test_output_that_the_engine_reads_itself(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            (out, out_end), (err, err_end) = os.pipe(), os.pipe()
            await h.start("a", ["sh", "-c", "echo out; echo err >&2; exit 3"], output_fds=(out_end, err_end))
            os.close(out_end)
            os.close(err_end)
            assert (await read_all(out), await read_all(err)) == (b"out\n", b"err\n")
            assert (await h.exit("a")).code == 3
            assert h.log_text("a") == ""
            await h.runtime.forget("a")
            assert await h.runtime.tasks() == []
            assert os.listdir(f"{h.exec_root}/tasks") == []
            (out, out_end), (err, err_end) = os.pipe(), os.pipe()
            with pytest.raises(StartFailed):
                await h.start("b", ["nope"], output_fds=(out_end, err_end))
            os.close(out_end)
            os.close(err_end)
            assert (await read_all(out), await read_all(err)) == (b"", b""), "nobody else has them"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("program", "errno", "text"),
    [
        ("nope", 2, 'exec: "nope": executable file not found in $PATH'),
        ("/nope/x", 2, 'exec: "/nope/x": stat /nope/x: no such file or directory'),
        ("/etc/passwd", 13, 'exec: "/etc/passwd": permission denied'),
        ("/etc", 21, 'exec: "/etc": is a directory'),
    ],
)
def test_failed_start_leaves_nothing(rootfs: str, program: str, errno: int, text: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            with pytest.raises(StartFailed) as e:
                await h.start("a", [program])
            assert (e.value.errno, e.value.stage, str(e.value)) == (errno, "exec", text)
            assert await h.runtime.tasks() == []
            assert os.listdir(f"{h.exec_root}/tasks") == []

    asyncio.run(go())


def test_failing_mount_names_itself(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            mounts = [{"destination": "/x", "type": "bind", "source": "/no/such/dir", "options": ["rbind"]}]
            with pytest.raises(StartFailed) as e:
                await h.start("a", ["true"], changes={"mounts": mounts})
            assert e.value.stage == "bind mount /no/such/dir to /x"

    asyncio.run(go())


def test_isolation_as_seen_inside(rootfs: str) -> None:
    script = (
        "echo pid=$$; hostname; ls /proc/self/fd | wc -l; cat /proc/1/comm; "
        "echo x > /proc/sys/kernel/hostname && echo WRITABLE; cat /proc/kcore | wc -c; ls /sys/firmware | wc -l; "
        "grep CapEff /proc/self/status"
    )

    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sh", "-c", script])
            await h.exit("a")
            lines = h.log_text("a").split("\n")
            assert lines[0] == "pid=1"
            assert lines[1] == "box"
            assert lines[2] == "4"  # 0, 1, 2 and the one ls reads the directory with
            assert lines[3] == "sh"
            assert "WRITABLE" not in lines
            assert [line for line in lines if line == "0"] == ["0", "0"]
            mask = 1 << 0 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 27
            assert f"CapEff:\t{mask:016x}" in lines

    asyncio.run(go())


def test_stdin_reaches_the_task_and_ends(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["cat"], open_stdin=True)
            fd = await h.runtime.attach_stdin("a")
            assert fd is not None
            os.write(fd, b"hello\n")
            os.close(fd)
            await h.runtime.close_stdin("a")
            assert (await h.exit("a")).code == 0
            assert h.log_text("a") == "hello\n"

    asyncio.run(go())


def test_without_stdin_the_task_reads_end_of_file(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["cat"])
            assert (await h.exit("a")).code == 0

    asyncio.run(go())


def test_terminal(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            fd = await h.runtime.attach_output("a", stdout=True, stderr=True)
            script = "tty; stty size; read x; echo got $x"
            await h.start("a", ["sh", "-c", script], terminal=True, open_stdin=True, console_size=(33, 77))
            stdin = await h.runtime.attach_stdin("a")
            assert stdin is not None
            os.write(stdin, b"word\n")
            await h.exit("a")
            os.close(stdin)
            text = (await read_all(fd)).decode()
            assert "/dev/pts/0\r\n" in text
            assert "33 77\r\n" in text
            assert "got word\r\n" in text

    asyncio.run(go())


def test_kill_and_death_by_signal(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            await h.runtime.kill("a", signal.SIGKILL)
            assert (await h.exit("a")).code == 137
            with pytest.raises(NotFound):
                await h.runtime.kill("a", signal.SIGKILL)

    asyncio.run(go())


def test_small_init_reaps_and_passes_on_signals(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            script = "trap 'echo term; exit 5' TERM; (sleep 0.1 &); echo pid $$; while :; do sleep 0.05; done"
            await h.start("a", ["sh", "-c", script], init=True)
            await asyncio.sleep(0.4)
            await h.runtime.kill("a", signal.SIGTERM)
            assert (await h.exit("a")).code == 5
            lines = h.log_text("a").split("\n")
            assert lines[0].startswith("pid ") and lines[0] != "pid 1"
            assert lines[1] == "term"

    asyncio.run(go())


@pytest.mark.parametrize("name", ["runc", "crun"])
def test_other_oci_runtimes(rootfs: str, name: str) -> None:
    path = shutil.which(name)
    assert path, f"{name} is installed by script/setup --dev"
    # crun refuses a machine that shows both cgroup versions: it gets a mount namespace without the second
    hide = ["-m", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"', path]
    runtime = ExternalRuntime(name=name, path="/usr/bin/unshare", arguments=hide)

    async def go() -> None:
        async with harness(rootfs) as h:
            fd = await h.runtime.attach_output("a", stdout=True, stderr=True)
            await h.start(
                "a", ["sh", "-c", "echo hi; read x; echo $x; exit 4"], open_stdin=True, runtime=runtime
            )
            process = {
                "args": ["sh", "-c", "echo in; exit 6"],
                "env": ["PATH=/bin"],
                "cwd": "/",
                "user": {"uid": 0, "gid": 0},
            }
            got = await h.runtime.exec(
                ExecRequest(task_id="a", exec_id="e", process=json.dumps(process).encode())
            )
            assert got.stdout_fd is not None and got.stderr_fd is not None
            os.close(got.stderr_fd)
            assert await read_all(got.stdout_fd) == b"in\n"
            assert (await h.exit("a", "e")).code == 6
            stdin = await h.runtime.attach_stdin("a")
            assert stdin is not None
            os.write(stdin, b"word\n")
            os.close(stdin)
            assert (await h.exit("a")).code == 4
            assert b"hi\n" in await read_all(fd)
            assert h.log_text("a") == "hi\nword\n"
            with pytest.raises(StartFailed) as e:
                await h.start("b", ["nope"], runtime=runtime)
            assert e.value.stage == "exec"
            for _ in range(100):
                if not os.listdir(f"{h.exec_root}/bundles"):
                    break
                await asyncio.sleep(0.05)
            assert os.listdir(f"{h.exec_root}/bundles") == []
            assert not os.listdir(f"{h.exec_root}/runtimes/{name}")

    asyncio.run(go())


def test_an_exec_of_which_another_oci_runtime_tells_nothing_is_answered(rootfs: str) -> None:
    silent = 'for word; do [ "$word" = exec ] && exit 0; done; exec runc "$@"'
    runtime = ExternalRuntime(name="silent", path="/bin/sh", arguments=["-c", silent, "silent"])
    process = {"args": ["true"], "env": [], "cwd": "/", "user": {"uid": 0, "gid": 0}}

    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"], runtime=runtime)
            with pytest.raises(StartFailed, match="told no process"):
                await h.runtime.exec(
                    ExecRequest(task_id="a", exec_id="e", process=json.dumps(process).encode())
                )
            await h.runtime.kill("a", signal.SIGKILL)
            await h.exit("a")

    asyncio.run(go())


def test_started_again_at_once(rootfs: str) -> None:
    """The janitor's cleaning after one life must not meet the next one."""

    async def go() -> None:
        async with harness(rootfs) as h:
            for life in range(25):
                h.exits.clear()
                await h.start("a", ["sh", "-c", f"exit {life}"])
                assert (await h.exit("a")).code == life
                await h.runtime.forget("a")

    asyncio.run(go())


def test_empty_cgroups_of_unknown_tasks_are_swept(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            known, unknown = "a" * 64, "b" * 64
            await h.start(known, ["sleep", "100"])
            hierarchy = Path("/sys/fs/cgroup/pids")
            parent = (hierarchy if hierarchy.is_dir() else hierarchy.parent) / h.cgroup.strip("/")
            for name in (unknown, "somebody-elses"):
                (parent / name).mkdir()
            await h.runtime.sweep_cgroups(h.cgroup, [known])
            for _ in range(100):
                if not (parent / unknown).exists():
                    break
                await asyncio.sleep(0.02)
            assert sorted(p.name for p in parent.iterdir() if p.is_dir()) == [known, "somebody-elses"]
            (parent / "somebody-elses").rmdir()

    asyncio.run(go())


def test_exec(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            process = json.dumps({
                "args": ["sh", "-c", "cat; ps -o comm | grep -cx sleep; hostname >&2; exit 9"],
                "env": ["PATH=/bin"], "cwd": "/tmp", "user": {"uid": 0, "gid": 0}, **RIGHTS,
            }).encode()  # fmt: skip
            got = await h.runtime.exec(ExecRequest(task_id="a", exec_id="e", process=process, stdin=True))
            assert got.stdin_fd is not None and got.stdout_fd is not None and got.stderr_fd is not None
            os.write(got.stdin_fd, b"in\n")
            os.close(got.stdin_fd)
            out, err = await read_all(got.stdout_fd), await read_all(got.stderr_fd)
            assert out == b"in\n1\n"
            assert err == b"box\n"
            assert (await h.exit("a", "e")).code == 9
            bad = process.replace(b'"sh"', b'"nope"')
            with pytest.raises(StartFailed) as e:
                await h.runtime.exec(ExecRequest(task_id="a", exec_id="f", process=bad))
            assert e.value.stage == "exec"

    asyncio.run(go())


def test_exec_in_a_terminal(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            process = json.dumps({
                "args": ["sh", "-c", "tty; stty size"], "terminal": True,
                "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **RIGHTS,
            }).encode()  # fmt: skip
            got = await h.runtime.exec(
                ExecRequest(task_id="a", exec_id="e", process=process, terminal=True, console_size=(10, 20))
            )
            assert got.stdin_fd is not None and got.stdout_fd is not None
            await h.exit("a", "e")
            text, wanted = b"", b"/dev/pts/0\r\n10 20\r\n"
            while len(text) < len(wanted):  # it comes in pieces
                text += os.read(got.stdout_fd, 4096)
            os.close(got.stdout_fd)
            os.close(got.stdin_fd)
            assert text == wanted

    asyncio.run(go())


def test_the_interpreter_cannot_be_written_from_inside(rootfs: str) -> None:
    """CVE-2019-5736: exec'ing /proc/self/exe must not give the container a writable interpreter."""
    script = (
        "i=0; while [ $i -lt 20000 ]; do for p in /proc/[0-9]*; do "
        "case $(readlink $p/exe) in *busybox|'') ;; *) echo seen; (echo x > $p/exe) 2>/dev/null && echo WROTE;; esac; "
        "done; i=$((i+1)); [ -e /tmp/stop ] && exit 0; done"
    )

    async def go() -> None:
        async with harness(rootfs) as h:
            before = os.stat(os.path.realpath(sys.executable))
            await h.start("a", ["sh", "-c", script])
            process = {"env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **RIGHTS}
            for number in range(30):
                document = json.dumps({**process, "args": ["/proc/self/exe", "-c", "1"]}).encode()
                try:
                    got = await h.runtime.exec(
                        ExecRequest(task_id="a", exec_id=f"e{number}", process=document)
                    )
                except StartFailed:
                    continue
                for fd in (got.stdout_fd, got.stderr_fd):
                    assert fd is not None
                    await read_all(fd)
                await h.exit("a", f"e{number}")
            stop = json.dumps({**process, "args": ["touch", "/tmp/stop"]}).encode()
            await h.runtime.exec(
                ExecRequest(task_id="a", exec_id="stop", process=stop, stdout=False, stderr=False)
            )
            await h.exit("a")
            assert "WROTE" not in h.log_text("a")
            after = os.stat(os.path.realpath(sys.executable))
            assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)

    asyncio.run(go())


def test_shared_mount_destination_symlink_stays_inside(rootfs: str, tmp_path: Path) -> None:
    (tmp_path / "canary").mkdir()
    (tmp_path / "volume").mkdir()
    os.symlink(str(tmp_path / "canary"), tmp_path / "volume" / "link")

    async def go() -> None:
        async with harness(rootfs) as h:
            bind = {"type": "bind", "options": ["rbind", "rw"]}
            mounts = [
                {**bind, "destination": "/volume", "source": str(tmp_path / "volume")},
                {"destination": "/volume/link/x", "type": "tmpfs", "source": "tmpfs", "options": []},
            ]
            with pytest.raises(StartFailed):
                await h.start("a", ["true"], changes={"mounts": mounts})
            assert os.listdir(tmp_path / "canary") == []

    asyncio.run(go())


def test_working_directory_cannot_be_a_leaked_descriptor(rootfs: str) -> None:
    """CVE-2024-21626."""

    async def go() -> None:
        async with harness(rootfs) as h:
            for number in (3, 5, 7, 9, 11, 13):
                changes = {"process__cwd": f"/proc/self/fd/{number}"}
                with pytest.raises(StartFailed):
                    await h.start(f"a{number}", ["ls", "../../.."], changes=changes)

    asyncio.run(go())
