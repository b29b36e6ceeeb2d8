"""Volumes of a limited size by project quotas, on ext4 and XFS: the engine's root is on each in turn."""

import os
import subprocess
import time

import pytest
from test_engine import ROOT, call, finished, launch, load_image, start

from corten.linux import quota
from corten.volumes import image
from corten.volumes.quota import Projects

__all__ = ["start"]  # a fixture

_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-O", "project,quota", "-E", "quotatype=prjquota"),
    "xfs": ("mkfs.xfs", "-q"),
}
_FULL = {"ext4": "quota exceeded", "xfs": "No space left"}
_MIB = 1 << 20


class Engine:
    """On a file system that has project quotas."""

    def __init__(self, kind, directory):
        self.kind, self._directory = kind, directory
        self._process = launch(directory)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def launch(self):
        self._process = launch(self._directory)

    def usage(self, project):
        fd = os.open(ROOT, os.O_RDONLY)
        try:
            return quota.usage(fd, project)
        finally:
            os.close(fd)


@pytest.fixture(scope="module", params=list(_MAKE), autouse=True)
def engine(request, tmp_path_factory):
    image = f"/disk/{request.param}"
    subprocess.run(["truncate", "-s", "400M", image], check=True)
    subprocess.run([*_MAKE[request.param], image], check=True)
    subprocess.run(["modprobe", "-a", "loop", "quota_v2"], check=True)
    os.makedirs(ROOT, exist_ok=True)
    subprocess.run(["mount", "-o", "loop,prjquota", image, ROOT], check=True)
    engine = Engine(request.param, tmp_path_factory.mktemp("engine"))
    load_image()
    yield engine
    engine.kill()
    subprocess.run(["umount", "-l", ROOT], check=True)
    os.unlink(image)


@pytest.fixture
def volume():
    made = []

    def volume(name, size):
        made.append(name)
        return call("POST", "/volumes/create", {"Name": name, "DriverOpts": {"size": size}})

    yield volume
    for name in made:
        call("DELETE", f"/volumes/{name}?force=1")


def project_of(name):
    kind, project = call("GET", f"/volumes/{name}")["Status"]["Limit"].rsplit(" ", 1)
    assert kind == "project quota"
    return int(project)


def write(start, name, megabytes):
    command = ["dd", "if=/dev/zero", f"of=/mnt/{name}", "bs=1M", f"count={megabytes}"]
    return finished(start(*command, Binds=["small:/mnt"]))


def test_a_full_volume_says_so_to_the_container(engine, volume, start):
    volume("small", "16m")
    code, text = write(start, "big", 32)
    assert code and _FULL[engine.kind] in text
    (usage,) = [
        v["UsageData"] for v in call("GET", "/system/df?type=volume")["Volumes"] if v["Name"] == "small"
    ]
    assert 8 * _MIB < usage["Size"] <= 16 * _MIB
    with open("/proc/self/mounts") as file:
        assert f"{ROOT}/volumes/small" not in file.read()  # it is a directory, and no more


def test_another_size_counts_at_once(engine, volume, start):
    volume("small", "16m")
    running = start("sleep", "1000", Binds=["small:/mnt"])
    call("PUT", "/volumes/small", {"DriverOpts": {"size": "48m"}})
    assert write(start, "big", 32)[0] == 0
    call("PUT", "/volumes/small", {"DriverOpts": {"size": "20m"}})  # what is there stays
    code, text = write(start, "more", 1)
    assert code and _FULL[engine.kind] in text
    assert call("GET", "/volumes/small")["Options"] == {"size": "20m"}
    call("POST", f"/containers/{running}/kill")


def test_volumes_do_not_share_their_limits(volume, start):
    volume("small", "16m")
    volume("other", "16m")
    assert project_of("small") != project_of("other")
    assert write(start, "big", 12)[0] == 0
    call("POST", "/volumes/other/rename?name=another")
    bind = ["another:/mnt"]
    assert finished(start("dd", "if=/dev/zero", "of=/mnt/f", "bs=1M", "count=12", Binds=bind))[0] == 0
    for name in ("small", "another"):
        assert finished(
            start("dd", "if=/dev/zero", "of=/mnt/f2", "bs=1M", "count=12", Binds=[f"{name}:/mnt"])
        )[0]


def test_a_project_is_given_back(engine, volume):
    volume("small", "16m")
    project = project_of("small")
    assert engine.usage(project).limit_bytes == 16 * _MIB
    with open(f"{ROOT}/volumes/small/_data/file", "wb") as file:
        file.write(bytes(_MIB))
    assert engine.usage(project).inodes == 2
    call("DELETE", "/volumes/small")
    deadline = time.monotonic() + 60
    while engine.usage(project) != quota.Usage():  # its files are deleted in the background
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_limit_is_there_again_after_a_crash(engine, volume, start):
    volume("small", "16m")
    project = project_of("small")
    engine.kill()
    fd = os.open(ROOT, os.O_RDONLY)
    quota.set_limit(fd, project, 0)  # as if the crash had come before the kernel was told
    os.close(fd)
    engine.launch()
    assert project_of("small") == project
    assert engine.usage(project).limit_bytes == 16 * _MIB
    code, text = write(start, "big", 32)
    assert code and _FULL[engine.kind] in text


def test_a_container_of_limited_size(engine, start):
    limited = {"StorageOpt": {"size": "16m"}}
    fill = ("dd", "if=/dev/zero", "of=/big", "bs=1M", "count=32")
    code, text = finished(start(*fill, **limited))
    assert code and _FULL[engine.kind] in text
    assert finished(start(*fill))[0] == 0  # who has no limit is not held by that of another
    code, text = finished(
        start("sh", "-c", "mkdir /d && cp /bin/busybox /d/one && rm /bin/busybox", **limited)
    )
    assert (code, text) == (0, "")  # the project is that of all that overlayfs moves about


def test_a_containers_limit_survives_a_crash_and_goes_with_it(engine, start):
    identifier = start("sleep", "1000", StorageOpt={"size": "16m"})
    project = next(
        number
        for number in range(Projects(f"{ROOT}/containers").first, 1 << 31)
        if engine.usage(number).limit_bytes
    )
    engine.kill()
    fd = os.open(ROOT, os.O_RDONLY)
    quota.set_limit(fd, project, 0)  # as if the crash had come before the kernel was told
    os.close(fd)
    engine.launch()
    assert engine.usage(project).limit_bytes == 16 * _MIB
    assert call("GET", f"/containers/{identifier}/json")["HostConfig"]["StorageOpt"] == {"size": "16m"}
    call("DELETE", f"/containers/{identifier}?force=1")
    deadline = time.monotonic() + 60
    while engine.usage(project) != quota.Usage():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_images_grow_where_the_kernel_may_do_it(tmp_path):
    """The other way of limiting, in use: engines outside the machine may have no CAP_SYS_RESOURCE."""
    folder, target = str(tmp_path), str(tmp_path / "_data")
    os.mkdir(target)
    image.mount_image(folder, 16 * _MIB, target)
    try:
        before = os.statvfs(target)
        image.grow_mounted(folder, target, 64 * _MIB)
        image.grow_mounted(folder, target, 64 * _MIB)
        after = os.statvfs(target)
        assert after.f_blocks * after.f_frsize > before.f_blocks * before.f_frsize + 40 * _MIB
    finally:
        subprocess.run(["umount", target], check=True)
