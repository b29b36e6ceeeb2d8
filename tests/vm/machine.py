"""A virtual machine under software emulation: boots in seconds, runs one job, and can be switched off.

    with Machine(tmp_path, "python3 /payload/guest/check.py") as machine:
        result = machine.wait()
    assert result.code == 0, result.output

The job is a shell script. It sees this tree's `src` and `tests` below /payload (read-only; PYTHONPATH is
set), cgroup v2 at /sys/fs/cgroup, and at /disk the ext4 image given as `disk`, which outlives the machine.
Its output comes over the second serial line, the kernel's messages (machine.console) over the first.
"""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bootimages import GUEST_PYTHON, REPOSITORY, images, make_disk

BOOT_ARGUMENTS = "console=ttyS0 panic=-1 quiet loglevel=4"
EXIT_LINE = "corten-vm-exit "
PAYLOAD_SIZE = "128M"  # sparse

PAYLOAD_INIT = f"""
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export PYTHONPATH=/payload/src PYTHONDONTWRITEBYTECODE=1
cd /payload
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
/payload/busybox ifconfig lo up
stty -F /dev/ttyS1 raw
sh /payload/job </dev/null >/dev/ttyS1 2>&1
echo "{EXIT_LINE}$?" >/dev/ttyS1
sync
exec /payload/busybox poweroff -f
"""


@dataclass(frozen=True)
class Result:
    """What the job printed, and its exit code; None if the machine went before the job ended."""

    output: str
    code: int | None


class Machine:
    """A running machine. Leaving the `with` block pulls the plug."""

    def __init__(self, directory: Path, job: str, *, disk: Path | None = None, memory_mb: int = 512) -> None:
        """directory: an empty one for the machine's own files."""
        directory.mkdir(exist_ok=True)
        self.console = directory / "console.log"
        self._lines: list[str] = []
        self._code: int | None = None
        boot = images()
        command = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", f"{memory_mb}"]
        command += ["-nodefaults", "-display", "none", "-no-reboot"]
        command += ["-kernel", boot / "vmlinuz", "-initrd", boot / "initramfs", "-append", BOOT_ARGUMENTS]
        command += ["-serial", f"file:{self.console}", "-serial", "stdio"]
        command += _drive(boot / "root.img", "readonly=on")
        command += _drive(_payload(directory, job), "readonly=on")
        if disk:
            command += _drive(disk, "cache=writethrough")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def __enter__(self) -> "Machine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pull_the_plug()
        assert self._process.stdout
        self._process.stdout.close()

    def lines(self) -> Iterator[str]:
        """The job's output as it comes, whole lines only; stops when the job or the machine does."""
        assert self._process.stdout
        for line in self._process.stdout:
            if not line.endswith("\n"):
                return  # cut off in the middle of it
            if line.startswith(EXIT_LINE):
                self._code = int(line.removeprefix(EXIT_LINE))
                return
            self._lines.append(line)
            yield line.rstrip("\n")

    def wait(self) -> Result:
        """Let the job run to its end."""
        for _ in self.lines():
            pass
        self._process.wait()
        return Result("".join(self._lines), self._code)

    def pull_the_plug(self) -> None:
        """SIGKILL: what the guest has not written to its disks is lost. What it said can still be read."""
        self._process.kill()
        self._process.wait()

    def kernel_messages(self) -> str:
        """The first serial line so far."""
        return self.console.read_text(errors="replace")


def _drive(image: Path, option: str) -> list[str]:
    return ["-drive", f"file={image},if=virtio,format=raw,{option}"]


def _payload(directory: Path, job: str) -> Path:
    """A disk with the source tree and the job."""
    staging = directory / "payload"
    staging.mkdir()
    shutil.copytree(REPOSITORY / "src", staging / "src")
    for part in ("vm/guest", "kernel"):
        shutil.copytree(REPOSITORY / "tests" / part, staging / "tests" / part)
    shutil.copy(REPOSITORY / "tests/supervisor_harness.py", staging / "tests")
    # As script/setup leaves it: the launchers beside an editable install.
    shutil.copytree(REPOSITORY / "src/corten/launcher", staging / ".venv/bin")
    packages = staging / f".venv/lib/python{GUEST_PYTHON}/site-packages"
    packages.mkdir(parents=True)
    (packages / "_corten.pth").write_text("/payload/src\n")
    shutil.copy("/bin/busybox", staging / "busybox")
    (staging / "init").write_text(PAYLOAD_INIT)
    (staging / "job").write_text(job)
    return make_disk(directory / "payload.img", PAYLOAD_SIZE, staging)
