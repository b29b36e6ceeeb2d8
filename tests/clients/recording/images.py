"""The scenarios' image: busybox from the machine's busybox-static, as tars that `docker` reads."""

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = "/bin/busybox"
APPLETS = """
    sh cat echo sleep true false ls ps id env pwd hostname wget nc httpd head tail wc dd yes kill
    test touch rm mkdir mount umount grep sed stty tty seq date stat cut sort tr ip chmod chown ln
    cp mv printf who whoami awk
""".split()  # noqa: SIM905 (a paragraph is easier to read than a column)
PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/bin/false
guest:x:1000:1000::/home/guest:/bin/sh
"""
GROUP = """\
root:x:0:
daemon:x:1:
guest:x:1000:
extra:x:2000:guest
"""


def write_rootfs_tar(path: Path) -> None:
    """Write the file system as a tar whose bytes depend on nothing but the busybox binary."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in (
            "bin",
            "dev",
            "etc",
            "home",
            "home/guest",
            "proc",
            "root",
            "sys",
            "tmp",
            "usr",
            "usr/bin",
            "var",
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for name, text in {"etc/passwd": PASSWD, "etc/group": GROUP}.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o644, len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
        binary = Path(BUSYBOX).read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.mode, entry.size = 0o755, len(binary)
        tar.addfile(entry, io.BytesIO(binary))
        for name in APPLETS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    available = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    assert set(APPLETS) <= set(available), "busybox-static lacks an applet that the scenarios use"


def write_image_tar(rootfs: Path, path: Path, reference: str) -> str:
    """Write a docker-archive with one layer, tagged `reference`; returns the image's id."""
    diff_id = "sha256:" + hashlib.sha256(rootfs.read_bytes()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-02T03:04:05Z",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "busybox-static"}],
        }
    ).encode()
    image_id = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{image_id}.json", "RepoTags": [reference], "Layers": ["layer/layer.tar"]}]
    members = {
        f"{image_id}.json": config,
        "layer/layer.tar": rootfs.read_bytes(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return image_id


def write_all(directory: Path) -> dict[str, Path]:
    """Make the tars once in `directory`: rootfs.tar, busybox.tar, busybox.tar.gz."""
    rootfs, image = directory / "rootfs.tar", directory / "busybox.tar"
    write_rootfs_tar(rootfs)
    write_image_tar(rootfs, image, "busybox:latest")
    compressed = directory / "busybox.tar.gz"
    compressed.write_bytes(gzip.compress(image.read_bytes(), 1, mtime=0))
    return {"rootfs": rootfs, "image": image, "compressed": compressed}
