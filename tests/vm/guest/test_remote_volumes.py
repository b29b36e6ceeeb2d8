"""Volumes of the local driver on file systems of servers: NFS and CIFS, both served by the machine itself."""

import os
import socket
import subprocess
import time

import pytest
from test_engine import call, engine, finished, start

__all__ = ["engine", "start"]  # fixtures

_SMB_CONF = """\
[global]
server role = standalone server
smb ports = 445
load printers = no
disable netbios = yes
[share]
path = /disk/share
read only = no
"""


def run(*command, **options):
    subprocess.run(command, check=True, **options)


@pytest.fixture(scope="module")
def nfs():
    """/disk/export as the top of an NFS 4 server. Its state is small, and forgotten with the machine."""
    os.mkdir("/disk/export")
    run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/nfs")
    for directory in ("v4recovery", "rpc_pipefs"):
        os.mkdir(f"/var/lib/nfs/{directory}")
    for module in ("nfsd", "nfsv4"):
        run("modprobe", module)
    run("mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd")
    with open("/etc/exports", "w") as file:
        file.write("/disk/export *(rw,fsid=0,no_root_squash,insecure,no_subtree_check)\n")
    run("exportfs", "-ra")
    run("rpc.nfsd", "-N", "3", "--no-udp", "2")
    run("rpc.mountd", "-N", "3")
    with open("/proc/fs/nfsd/v4_end_grace", "w") as file:
        file.write("Y")  # no client can have anything to reclaim
    return "/disk/export"


@pytest.fixture(scope="module")
def share():
    """/disk/share as //127.0.0.1/share, for user:secret."""
    os.mkdir("/disk/share")
    os.chmod("/disk/share", 0o777)
    run("modprobe", "cifs")
    with open("/etc/samba/smb.conf", "w") as file:
        file.write(_SMB_CONF)
    run("useradd", "-M", "user")
    run("smbpasswd", "-s", "-a", "user", input=b"secret\nsecret\n")
    run("smbd", "-D")
    deadline = time.monotonic() + 60
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", 445)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    return "/disk/share"


@pytest.fixture
def volume():
    made = []

    def volume(name, **options):
        made.append(name)
        call("POST", "/volumes/create", {"Name": name, "Driver": "local", "DriverOpts": options})
        return f"{name}:/mnt"

    yield volume
    for name in made:
        call("DELETE", f"/volumes/{name}")


def test_nfs(volume, start, nfs):
    bind = volume("nfs", type="nfs", o="addr=127.0.0.1,rw,vers=4.2", device=":/")
    identifier = start("sh", "-c", "echo written >/mnt/file; cat /mnt/file", Binds=[bind])
    assert finished(identifier) == (0, "written\n")
    with open(f"{nfs}/file") as file:
        assert file.read() == "written\n"


def test_cifs_by_name_and_password(volume, start, share):
    options = "username=user,password=secret,vers=3.0,addr=localhost"
    bind = volume("cifs", type="cifs", o=options, device="//localhost/share")
    identifier = start("sh", "-c", "echo written >/mnt/file; cat /mnt/file", Binds=[bind])
    assert finished(identifier) == (0, "written\n")
    with open(f"{share}/file") as file:
        assert file.read() == "written\n"
    assert "secret" not in str(call("GET", f"/containers/{identifier}/json")["Mounts"])


def test_a_server_that_refuses(volume, share):
    bind = volume("wrong", type="cifs", o="username=user,password=wrong,vers=3.0", device="//127.0.0.1/share")
    body = {"Image": "guest", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "Binds": [bind]}}
    made = call("POST", "/containers/create", body)["Id"]
    answer = call("POST", f"/containers/{made}/start", status=500)
    assert "error while mounting volume" in answer["message"]
    assert "password=wrong" not in answer["message"]
    call("DELETE", f"/containers/{made}")
    with open("/proc/self/mounts") as file:
        assert "//127.0.0.1/share" not in file.read()
