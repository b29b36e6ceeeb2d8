"""What a virtual machine boots from: Debian's cloud kernel, an initramfs, a root file system.

Made once under `.cache/vm/<recipe>` (a minute or two; needs root, apt and debootstrap) and shared by all
machines, which only read it.
"""

import fcntl
import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache" / "vm"
SUITE = "bookworm"
MIRROR = os.environ.get("CORTEN_DEBIAN_MIRROR", "http://deb.debian.org/debian")
KERNEL_PACKAGE = "linux-image-cloud-amd64"
PACKAGES = "python3,python3-pytest,kmod,busybox-static,apparmor,libnftables1,nfs-kernel-server,samba,xfsprogs"
GUEST_PYTHON = "3.11"  # the suite's
REQUIREMENTS = REPOSITORY / "requirements.txt"  # Corten's own, for the guest's Python
ROOT_SIZE = "1G"  # sparse
# In the order in which they need each other.
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "overlay",
)

INITRAMFS_INIT = """#!/bin/busybox sh
# Disks: a = root (shared, read-only), b = this machine's payload, c = a disk that a test keeps.
busybox mount -t devtmpfs dev /dev
for module in {modules}; do busybox insmod /modules/$module.ko; done
busybox mount -t ext4 -o ro /dev/vda /lower
busybox mount -t tmpfs tmpfs /over
busybox mkdir /over/upper /over/work
busybox mount -t overlay -o lowerdir=/lower,upperdir=/over/upper,workdir=/over/work root /root
cd /root
busybox mount -t proc proc proc
busybox mount -t sysfs sys sys
busybox mount -t cgroup2 cgroup sys/fs/cgroup
busybox mount -t securityfs security sys/kernel/security
busybox mount -t tmpfs tmpfs run
busybox mount -t tmpfs tmpfs tmp
busybox chmod 1777 tmp
busybox mkdir -p payload disk
busybox mount -t ext4 -o ro /dev/vdb payload
[ ! -b /dev/vdc ] || busybox mount -t ext4 /dev/vdc disk
busybox mount --move /dev dev
exec busybox switch_root /root /payload/busybox sh /payload/init
"""


def images() -> Path:
    """Directory with `vmlinuz`, `initramfs` and `root.img`; made if it is not there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    parts = (SUITE, KERNEL_PACKAGE, PACKAGES, MODULES, INITRAMFS_INIT, REQUIREMENTS.read_text())
    ready = CACHE / hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as directory:
                made = Path(directory) / "images"
                made.mkdir()
                kernel = _unpack_kernel(Path(directory) / "kernel")
                shutil.copy(next((kernel / "boot").glob("vmlinuz-*")), made / "vmlinuz")
                _make_initramfs(kernel, made / "initramfs")
                _make_root(kernel, Path(directory) / "root", made / "root.img")
                for old in CACHE.glob("*/vmlinuz"):
                    shutil.rmtree(old.parent)
                made.rename(ready)
    return ready


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def _unpack_kernel(directory: Path) -> Path:
    """The kernel's package, not installed: only unpacked."""
    directory.mkdir()
    depends = _run("apt-cache", "depends", KERNEL_PACKAGE)
    package = next(line.split()[1] for line in depends.splitlines() if "Depends: linux-image-" in line)
    _run("apt-get", "download", "-qq", package, cwd=directory)
    _run("dpkg", "-x", next(directory.glob("*.deb")), directory)
    return directory


def _make_initramfs(kernel: Path, target: Path) -> None:
    init = INITRAMFS_INIT.format(modules=" ".join(MODULES))
    entries = [(name, 0o40755, b"") for name in ("bin", "dev", "modules", "lower", "over", "root")]
    entries.append(("init", 0o100755, init.encode()))
    entries.append(("bin/busybox", 0o100755, Path("/bin/busybox").read_bytes()))
    for name in MODULES:
        found = next(kernel.rglob(f"{name}.ko*"))
        data = found.read_bytes()
        entries.append(
            (f"modules/{name}.ko", 0o100644, lzma.decompress(data) if found.suffix == ".xz" else data)
        )
    with gzip.open(target, "wb", compresslevel=1) as file:
        for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")]):
            file.write(_cpio_entry(number, name, mode, data))


def _cpio_entry(inode: int, name: str, mode: int, data: bytes) -> bytes:
    """One entry of a "newc" archive (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _make_root(kernel: Path, directory: Path, target: Path) -> None:
    _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, directory, MIRROR)
    for unneeded in (
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "var/cache/apt",
        "var/lib/apt/lists",
    ):
        shutil.rmtree(directory / unneeded, ignore_errors=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    target_python = ["--python-version", GUEST_PYTHON, "--only-binary=:all:", "--require-hashes"]
    packages = directory / "usr/lib/python3/dist-packages"
    _run(*install, *target_python, "--target", packages, "--requirement", REQUIREMENTS)
    shutil.copytree(kernel / "lib/modules", directory / "lib/modules", symlinks=True)
    _run("chroot", directory, "depmod", next((kernel / "lib/modules").iterdir()).name)
    make_disk(target, ROOT_SIZE, directory)


def make_disk(target: Path, size: str, content: Path | None = None) -> Path:
    """An ext4 disk image, sparse, with the content of a directory."""
    source = ["-d", content] if content else []
    _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", *source, target, size)
    return target
