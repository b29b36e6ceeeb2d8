"""Root of a user namespace is nobody outside of it, whatever it was given inside."""

import os
import stat
from pathlib import Path

import pytest

from corten.snapshots.tar_reader import TarEntry
from engine import Engine

ROOT = 300000
IDS = "nobody:300000:65536\ncontainers:1000000:131072\n"
ALL = ("--cap-add=ALL", "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined")


@pytest.fixture(scope="module")
def remapped(tmp_path_factory, attacker_of):
    """Who plays with an engine whose containers have other ids."""
    engine = Engine({"userns-remap": "nobody"})
    try:
        engine.write_etc({"subuid": IDS, "subgid": IDS})
        engine.start()
        yield attacker_of(engine, tmp_path_factory.mktemp("remapped"))
    finally:
        engine.close()


@pytest.fixture(scope="module")
def image(remapped, tool):
    return remapped.image((TarEntry(b"bin/become", mode=0o4755), tool[1]))


@pytest.fixture
def folder(tmp_path):
    """A directory of the host's root, with a secret in it."""
    os.chmod(tmp_path, 0o755)
    (tmp_path / "secret").write_text("of the host's root")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    return tmp_path


def pid_of(remapped, container):
    return remapped.docker("inspect", "-f", "{{.State.Pid}}", container).stdout.strip()


def test_the_host_files_in_a_bind_are_not_roots(remapped, image, folder):
    script = """
        cat /host/secret; echo x > /host/secret; chmod 666 /host/secret; chown 0:0 /host/secret
        rm /host/secret; touch /host/new; mv /host/secret /host/other; mkdir /host/open/../dir
        chmod 777 /host; ln /host/secret /host/open/link
        ls /host/open
    """
    assert remapped.sh(image, script, f"-v={folder}:/host", *ALL).stdout == ""
    assert sorted(path.name for path in folder.iterdir()) == ["open", "secret"]
    assert not list((folder / "open").iterdir())
    status = (folder / "secret").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o600)
    assert (folder / "secret").read_text() == "of the host's root"


def test_a_setuid_file_left_on_the_host_is_not_roots(remapped, image, folder):
    script = "cp /bin/busybox /host/open/become; chown 0:0 /host/open/become; chmod 6777 /host/open/become"
    remapped.sh(image, script, f"-v={folder}:/host", *ALL)
    assert (folder / "open" / "become").stat().st_uid == ROOT


def test_a_setuid_file_of_an_image_makes_root_of_the_container_only(remapped, image):
    command = ("run", "-d", "-u", "guest", image, "/bin/become", "wait")
    container = remapped.docker(*command).stdout.strip()
    status = remapped.engine.run("cat", f"/proc/{pid_of(remapped, container)}/status").stdout
    uids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
    assert uids == [str(ROOT + 1000), *[str(ROOT)] * 3]
    remapped.remove(container)


def test_ids_cannot_be_mapped_anew(remapped, image):
    script = "for f in uid_map gid_map setgroups; do echo 0 0 1 > /proc/self/$f && echo WRITTEN; done; id -u"
    assert remapped.sh(image, script, *ALL).stdout == "0\n"


def test_an_inner_user_namespace_reaches_no_further(remapped, image, folder):
    script = "unshare -Ur sh -c 'cat /proc/self/uid_map; cat /host/secret; touch /host/x'"
    out = remapped.sh(image, script, f"-v={folder}:/host", *ALL, check=False).stdout
    assert "of the host" not in out
    assert not (folder / "x").exists()


def test_capabilities_do_not_count_outside(remapped, image):
    script = """
        hostname stolen 2>/dev/null
        echo /tmp/x > /proc/sys/kernel/core_pattern && echo CORE_PATTERN
        echo 1 > /proc/sys/kernel/panic && echo PANIC
        echo x > /proc/sysrq-trigger && echo SYSRQ
        echo 3 > /proc/sys/vm/drop_caches && echo CACHES
        mknod /node b 8 0 && echo MKNOD
        mount -o remount,rw /sys && echo x > /sys/kernel/uevent_helper && echo UEVENT
        mount -t ext4 /dev/vda /tmp && echo MOUNT
        mount -t cgroup -o memory x /tmp && echo x > /tmp/release_agent && echo RELEASE_AGENT
        head -c 1 /proc/kcore >/dev/null && echo KCORE
        cat /proc/kmsg >/dev/null & kill $! 2>/dev/null
        echo -1000 > /proc/self/oom_score_adj && echo OOM
        dd if=/dev/mem of=/dev/null bs=1 count=1 && echo MEM
        echo done
    """
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    assert remapped.sh(image, script, *ALL).stdout == "done\n"
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_nothing_of_the_host_is_left_open_or_mounted(remapped, image):
    script = "ls /proc/1/fd; cat /proc/1/mountinfo"
    out = remapped.sh(image, script).stdout.splitlines()
    fds = {line for line in out if line.isdigit()}
    assert fds <= {"0", "1", "2", "3"}  # the last is of ls itself
    root = str(remapped.engine.root)
    for line in out:
        if " - overlay " not in line:
            assert root not in line, line
    container = remapped.docker("run", "-d", image, "sleep", "100").stdout.strip()
    children = remapped.engine.run("ps", "-eo", "stat,args").stdout
    assert not [line for line in children.splitlines() if line.startswith("Z") and "corten" in line]
    remapped.remove(container)


def test_layers_stay_as_they_are(remapped, image):
    script = """
        chmod 777 /bin/busybox; chown 1000:1000 /etc/passwd; rm -rf /tmp; echo x >> /bin/become
        mount -o remount,rw /; touch /x
    """
    remapped.sh(image, script, *ALL)
    assert remapped.sh(image, "ls -ln /etc/passwd /bin/busybox | cut -c1-10").stdout.split() == [
        "-rwxr-xr-x",
        "-rw-r--r--",
    ]


def test_containers_of_two_ranges_are_strangers(remapped, image, folder):
    def start(script):
        host = {"UsernsMode": "auto", "Binds": [f"{folder}/open:/shared"]}
        container = remapped.create(image, "sh", "-c", script, host=host)
        assert remapped.start(container)[0] == 204
        return container

    first = start("umask 077; echo mine > /shared/mine; chmod 4755 /bin/busybox; exec sleep 100")
    second = start("until test -e /shared/mine; do usleep 1000; done; cat /shared/mine; rm /bin/x; echo $?")
    remapped.wait(second)
    logs = remapped.docker("logs", second)
    assert "mine" not in logs.stdout
    assert "Permission denied" in logs.stderr
    assert (folder / "open" / "mine").stat().st_uid != ROOT
    for container in (first, second):
        remapped.remove(container)


def test_copies_into_a_container_are_made_with_its_rights(remapped, image, folder):
    """A link inside leads `cp` to a bind of the host's: the copy is what the container could have written."""
    container = remapped.create(
        image, "sh", "-c", "ln -s /host /way; exec sleep 100", host={"Binds": [f"{folder}:/host"]}
    )
    remapped.start(container)
    (folder / "open" / "given").write_text("x")
    done = remapped.docker("cp", str(folder / "open" / "given"), f"{container}:/host/given", check=False)
    assert done.returncode
    assert not (folder / "given").exists()
    remapped.remove(container)


def test_images_mounted_inside_are_never_written(remapped, image):
    """An image of one layer too, by a root that may remount it: whoever runs the image has that layer."""
    script = """
        touch /other/x; mount -o remount,rw,bind /other; mount -o remount,rw /other
        echo evil > /other/etc/passwd; touch /other/evil; chmod 777 /other/etc; ls /other
        grep " /other " /proc/self/mountinfo
    """
    mount = f"--mount=type=image,src={image},dst=/other"
    out = remapped.sh(image, script, mount, "--security-opt=apparmor=unconfined", *ALL, check=False).stdout
    assert "bin" in out.split()
    assert "evil" not in out.split()
    assert " - overlay " in out  # whatever the layer itself lies on
    after = remapped.sh(image, "ls /; cat /etc/passwd; ls -ld /etc").stdout
    assert "evil" not in after
    assert "drwxrwxrwx" not in after


def test_who_shares_its_processes_sees_no_init_on_its_way(remapped, image):
    """With SYS_PTRACE over the user namespace: until it is in its root, an init has the host's around it."""
    script = """
        test -e /usr/bin/env && echo WRONG-IMAGE
        echo ready
        while :; do
            for p in /proc/[0-9]*; do test -e $p/root/usr/bin/env && echo ESCAPED && exec sleep 100; done
        done
    """
    watcher = remapped.create(image, "sh", "-c", script, host={"CapAdd": ["ALL"]})
    assert remapped.start(watcher)[0] == 204
    try:
        while "ready" not in remapped.docker("logs", watcher).stdout:
            pass
        for _ in range(5):
            shared = [f"--{kind}=container:{watcher}" for kind in ("pid", "network")]
            done = remapped.docker("run", "--rm", *shared, *ALL, image, "id", "-u")
            assert done.stdout == "0\n"
        assert remapped.docker("logs", watcher).stdout == "ready\n"
    finally:
        remapped.remove(watcher)
