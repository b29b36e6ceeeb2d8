"""Root file systems of Debian packages, for images with real programs.

Packages come from the machine's own apt sources, with all that they depend on, and are unpacked without
being configured. What was made is kept below .cache, by the names of the packages.
"""

import hashlib
import os
import subprocess
from pathlib import Path

# What the tests with real servers have in common, so that one root serves them all.
SERVERS = ("nginx-light", "postgresql-15", "redis-server", "python3-psycopg2", "python3-redis")
CACHE = Path(__file__).parents[2] / ".cache" / "debian"
# Big, and wanted only for what no test does: postgres' just-in-time compiler, documentation, other languages.
_WITHOUT = ("libllvm14", "libz3-4", "locales", "libc-l10n", "usrmerge")
_EXCLUDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/lib/gcc", "usr/share/perl")
_MERGED = ("bin", "lib", "lib64", "sbin")
_USERS = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\npostgres:x:101:101::/tmp:/bin/sh\n"
_GROUPS = "root:x:0:\nwww-data:x:33:\nadm:x:4:\npostgres:x:101:\n"


def root_of(*packages: str) -> Path:
    """A tar with the packages and busybox; there are users postgres (101), who has /data, and www-data (33)."""
    name = hashlib.sha256(" ".join((*packages, *_WITHOUT, *_EXCLUDED)).encode()).hexdigest()[:16]
    tar = CACHE / f"{name}.tar"
    if not tar.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        archives = CACHE / f"{name}.archives"  # its own: all that is in there is unpacked
        _download(archives, ("busybox-static", *packages))
        _build(archives, CACHE / f"{name}.root", tar)
    return tar


def _download(archives: Path, packages: tuple[str, ...]) -> None:
    """The packages and all that they need on a machine that has nothing."""
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    nothing = archives / "status"
    nothing.touch()
    options = {
        "Dir::State::status": nothing,
        "Dir::Cache::archives": archives,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "true",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    download = ["apt-get", *flags, "-qq", "-y", "--download-only", "install", *packages]
    if subprocess.run(download, stdin=subprocess.DEVNULL, capture_output=True).returncode:
        subprocess.run(
            ["apt-get", "-qq", "update"], stdin=subprocess.DEVNULL, check=True
        )  # old lists, or none
        subprocess.run(download, stdin=subprocess.DEVNULL, check=True)


def _build(archives: Path, root: Path, tar: Path) -> None:
    subprocess.run(["rm", "-rf", root], check=True)
    for directory in ("usr", "tmp", "run", "proc", "sys", "dev", "root", "etc", "data"):
        (root / directory).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    os.chown(root / "data", 101, 101)
    for directory in _MERGED:
        (root / "usr" / directory).mkdir()
        (root / directory).symlink_to(f"usr/{directory}")
    excluded = [f"--exclude=./{path}" for path in _EXCLUDED]
    for package in sorted(archives.glob("*.deb")):
        if package.name.partition("_")[0] not in _WITHOUT:
            unpack = ["tar", "-x", "--keep-directory-symlink", *excluded, "-C", root]
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as files:
                subprocess.run(unpack, stdin=files.stdout, check=True)
            assert files.returncode == 0
    (root / "etc" / "passwd").write_text(_USERS)
    (root / "etc" / "group").write_text(_GROUPS)
    if not (root / "bin" / "sh").exists():
        (root / "bin" / "sh").symlink_to("busybox")
    partial = tar.with_suffix(".partial")
    subprocess.run(["tar", "-c", "-C", root, "-f", partial, "."], check=True)
    subprocess.run(["rm", "-rf", root], check=True)
    os.rename(partial, tar)
