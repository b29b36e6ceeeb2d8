"""podman runs its containers with corten-oci."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

CORTEN_OCI = str(Path(sys.executable).with_name("corten-oci"))

Podman = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    run_root = tempfile.mkdtemp(prefix="cpod-")  # podman takes 50 characters at most
    assert shutil.which("podman"), "podman is installed by script/setup --dev"
    stores = [
        "--root",
        str(tmp_path / "root"),
        "--runroot",
        run_root,
        "--tmpdir",
        str(tmp_path / "tmp"),
    ]
    options = [*stores, "--cgroup-manager", "cgroupfs", "--runtime", CORTEN_OCI, "--events-backend", "file"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["podman", *options, *arguments]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    (tmp_path / "fs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tmp_path / "fs/bin/busybox")
    subprocess.run(["chroot", str(tmp_path / "fs"), "/bin/busybox", "--install", "-s", "/bin"], check=True)
    subprocess.run(["tar", "-C", str(tmp_path / "fs"), "-cf", str(tmp_path / "fs.tar"), "."], check=True)
    done = run("import", str(tmp_path / "fs.tar"), "bb:1")
    assert done.returncode == 0, done.stderr
    yield run
    run("rm", "-af", "-t", "0")
    run("rmi", "-af")
    subprocess.run(["umount", str(tmp_path / "root/overlay")], capture_output=True)
    shutil.rmtree(run_root, ignore_errors=True)


def test_run_exec_and_exit_codes(podman: Podman) -> None:
    done = podman(
        "run", "--rm", "--network", "none", "bb:1", "sh", "-c", "grep Seccomp: /proc/self/status; exit 6"
    )
    assert (done.stdout, done.returncode) == ("Seccomp:\t2\n", 6), done.stderr
    assert podman("run", "-d", "--name", "t1", "--network", "none", "bb:1", "sleep", "100").returncode == 0
    assert podman("exec", "t1", "echo", "in").stdout == "in\n"
    assert podman("exec", "-t", "t1", "tty").stdout.strip() == "/dev/pts/0"
    assert podman("inspect", "-f", "{{.State.Status}} {{.OCIRuntime}}", "t1").stdout.split()[0] == "running"
    assert podman("rm", "-f", "-t", "0", "t1").returncode == 0
    assert podman("run", "--rm", "--network", "none", "bb:1", "nope").returncode == 127
