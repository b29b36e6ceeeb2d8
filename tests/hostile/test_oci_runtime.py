"""corten-oci, started by others with their descriptors and a file system that an image has filled."""

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

_CORTEN_OCI = str(Path(__file__).parents[2] / ".venv/bin/corten-oci")


@pytest.fixture
def oci(tmp_path):
    """run(command, ..., program=[...]): the outcome of corten-oci on a busybox bundle."""
    rootfs = tmp_path / "rootfs"
    for name in ("bin", "proc", "dev", "etc", "tmp"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/sh")
    cgroup = f"hostile-oci-{uuid.uuid4().hex[:8]}"
    state = str(tmp_path / "state")

    def run(*arguments, program=("sh", "-c", "true"), silent=False, **options):
        namespaces = [{"type": n} for n in ("pid", "mount", "ipc", "uts", "network")]
        spec = {
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": {
                "args": list(program),
                "cwd": "/",
                "env": ["PATH=/bin"],
                "user": {"uid": 0, "gid": 0},
            },
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"cgroupsPath": f"/{cgroup}/c", "namespaces": namespaces},
        }
        (tmp_path / "config.json").write_text(json.dumps(spec))
        output = subprocess.DEVNULL if silent else subprocess.PIPE
        return subprocess.run(
            [_CORTEN_OCI, "--root", state, *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True, timeout=30, **options,
        )  # fmt: skip

    run.rootfs, run.bundle = rootfs, str(tmp_path)
    yield run
    subprocess.run([_CORTEN_OCI, "--root", state, "delete", "--force", "c"], capture_output=True)
    for path in Path("/sys/fs/cgroup").glob(f"*/{cgroup}"):
        path.rmdir()


def test_the_interpreter_cannot_be_written(oci):
    """CVE-2019-5736: until execve, /proc/PID/exe is our interpreter."""
    made = oci("create", "--bundle", oci.bundle, "c", silent=True)  # a pipe would stay open with init
    assert made.returncode == 0
    pid = json.loads(oci("state", "c").stdout)["pid"]
    assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY


def test_no_descriptor_of_the_caller_is_a_way_out(oci):
    """CVE-2024-21626: whoever calls us may have left directories of the host open."""
    for up in ("", "/.." * 12):
        held = os.open("/bin", os.O_RDONLY)
        os.set_inheritable(held, True)
        try:
            program = f"/proc/self/fd/{held}{up and up + '/bin'}/busybox"
            done = oci("run", "--bundle", oci.bundle, "c", program=(program, "true"), pass_fds=(held,))
        finally:
            os.close(held)
        assert done.returncode != 0
        assert "no such file" in done.stderr or "not a directory" in done.stderr, done.stderr


def test_a_fifo_for_a_passwd_does_not_stall(oci):
    """HOME is looked up in a file that the image made."""
    os.mkfifo(oci.rootfs / "etc/passwd")
    done = oci("run", "--bundle", oci.bundle, "c", program=("sh", "-c", "echo $HOME"))
    assert (done.returncode, done.stdout) == (0, "/\n"), done.stderr


def test_a_passwd_that_leads_to_a_descriptor(oci):
    """Not even what the runtime has open is read for it."""
    os.symlink("/proc/self/fd/0", oci.rootfs / "etc/passwd")
    done = oci("run", "--bundle", oci.bundle, "c", program=("sh", "-c", "echo $HOME"))
    assert (done.returncode, done.stdout) == (0, "/\n"), done.stderr


def test_cgroups_paths_stay_in_the_hierarchy(oci, tmp_path):
    """A bundle's cgroupsPath makes no directory elsewhere."""
    oci("state", "c")  # writes a config
    config = Path(oci.bundle) / "config.json"
    document = json.loads(config.read_text())
    document["linux"]["cgroupsPath"] = "/../../.." * 4 + f"{tmp_path}/made/c"
    config.write_text(json.dumps(document))
    command = [_CORTEN_OCI, "--root", str(tmp_path / "state"), "run", "--bundle", oci.bundle, "c"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and "invalid cgroup path" in done.stderr
    assert not (tmp_path / "made").exists()
