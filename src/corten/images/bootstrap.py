"""Base images without a registry: out of the distribution's own packages.

busybox: the static binary of Debian's and Ubuntu's `busybox-static`, with a hard link per applet.
debian: what debootstrap's minbase variant installs; the tar of it is cached, since that takes minutes.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from corten.errors import InvalidParameter, NotFound, Unavailable
from corten.images.blocking import ProgressQueue, run_blocking
from corten.images.catalogue import ImageCatalogue
from corten.images.import_image import file_body, import_tar
from corten.oci.image import ImageConfig
from corten.reference import parse_normalized
from corten.snapshots.tar_reader import DIRECTORY, HARD_LINK, TarEntry
from corten.snapshots.tar_writer import TarWriter
from corten.types.progress import JSONMessage

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")
_SUITE = re.compile(r"[a-z][a-z0-9.-]{0,30}", re.ASCII)
_DEFAULT_SUITE = "bookworm"
DEFAULT_CACHE = "/var/cache/corten"

_DIRECTORIES = {
    b"bin": 0o755, b"dev": 0o755, b"etc": 0o755, b"home": 0o755, b"proc": 0o755, b"root": 0o700,
    b"sys": 0o755, b"tmp": 0o1777, b"usr": 0o755, b"usr/bin": 0o755, b"usr/sbin": 0o755, b"sbin": 0o755,
    b"var": 0o755, b"var/spool": 0o755, b"var/tmp": 0o1777, b"var/www": 0o755,
}  # fmt: skip
_FILES = {
    b"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"
    b"daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
    b"www-data:x:33:33:www-data:/var/www:/bin/false\n"
    b"nobody:x:65534:65534:nobody:/home:/bin/false\n",
    b"etc/group": b"root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n",
    b"etc/shadow": b"root:*:::::::\nnobody:*:::::::\n",
    b"etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n",
}


async def bootstrap(
    store: ImageCatalogue, what: str, *, mirror: str = "", cache: str = DEFAULT_CACHE
) -> AsyncIterator[JSONMessage]:
    """Make `busybox:latest`, or `debian:<suite>` and `debian:latest`, and yield progress.

    what: "busybox", "debian" or "debian:<suite>". Raises InvalidParameter, NotFound if the packages that
    it takes are not installed, Unavailable if debootstrap fails.
    """
    family, _, suite = what.partition(":")
    progress = ProgressQueue()

    def say(text: str) -> None:
        progress.put(JSONMessage(status=text))

    if family == "busybox" and suite in ("", "latest"):
        work = _busybox(store, say)
    elif family == "debian" and (not suite or _SUITE.fullmatch(suite)):
        wanted = _DEFAULT_SUITE if suite in ("", "latest") else suite
        work = _debian(store, wanted, mirror, cache, say)
    else:
        raise InvalidParameter(f"cannot bootstrap {what}: only busybox and debian[:suite] are known")
    async with aclosing(progress.stream(work)) as lines:
        async for line in lines:
            yield line


async def _busybox(store: ImageCatalogue, say: Callable[[str], None]) -> None:
    program = next((path for path in _BUSYBOX if os.path.exists(path)), None)
    if program is None:
        raise NotFound("busybox is not installed: apt-get install busybox-static")
    path = os.path.join(store.tmp, f"bootstrap-{secrets.token_hex(8)}")
    say(f"Packing {program} and its applets")
    try:
        await run_blocking(_write_busybox, program, path)
        config = ImageConfig(env=[_PATH], cmd=["sh"])
        await _import(store, path, "busybox:latest", config, program, say)
    finally:
        os.unlink(path)


def _write_busybox(program: str, path: str) -> None:
    with open(program, "rb") as f:
        binary = f.read()
    if b"/ld-linux" in binary[:4096] or b"/lib64/ld-" in binary[:4096]:
        raise NotFound(f"{program} is not static: apt-get install busybox-static")
    listed = subprocess.run([program, "--list-full"], capture_output=True, check=True, timeout=30)
    applets = sorted(set(listed.stdout.split()) - {b"bin/busybox", b"linuxrc"})
    with open(path, "xb") as f:
        writer = TarWriter(f.write)
        for name, mode in _DIRECTORIES.items():
            writer.add(TarEntry(name, DIRECTORY, mode))
        writer.add_bytes(TarEntry(b"bin/busybox", mode=0o755), binary)
        for applet in applets:
            if applet.rpartition(b"/")[0] in _DIRECTORIES:
                writer.add(TarEntry(applet, HARD_LINK, 0o755, linkname=b"bin/busybox"))
        for name, content in _FILES.items():
            writer.add_bytes(TarEntry(name, mode=0o600 if name.endswith(b"shadow") else 0o644), content)
        writer.close()


async def _debian(
    store: ImageCatalogue, suite: str, mirror: str, cache: str, say: Callable[[str], None]
) -> None:
    cached = os.path.join(cache, f"debian-{suite}.tar")
    if not os.path.exists(cached):
        os.makedirs(cache, mode=0o700, exist_ok=True)
        say(f"Installing Debian {suite} (debootstrap, some minutes)")
        await _debootstrap(store, suite, mirror, cached)
    config = ImageConfig(env=[_PATH], cmd=["bash"])
    await _import(store, cached, f"debian:{suite}", config, cached, say)
    store.tag(f"debian:{suite}", "debian:latest")


async def _debootstrap(store: ImageCatalogue, suite: str, mirror: str, cached: str) -> None:
    program = shutil.which("debootstrap", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise NotFound("debootstrap is not installed: apt-get install debootstrap")
    target = os.path.join(store.tmp, f"bootstrap-{secrets.token_hex(8)}")
    command = [program, "--variant=minbase", suite, target, *([mirror] if mirror else [])]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
        if process.returncode != 0:
            last = output.decode(errors="replace").strip().splitlines()[-3:]
            raise Unavailable(f"debootstrap failed: {' '.join(last)}")
        await run_blocking(_tar_directory, store, target, cached)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await run_blocking(_remove, target)


def _tar_directory(store: ImageCatalogue, directory: str, path: str) -> None:
    for name in ("var/cache/apt/archives", "var/lib/apt/lists"):
        _empty(os.path.join(directory, name))
    temporary = f"{path}.{secrets.token_hex(4)}"
    source = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    output = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        store.workers.run("corten.snapshots.jobs:tar", {"overlay": False}, [source, output])
        os.fsync(output)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(source)
        os.close(output)


def _empty(directory: str) -> None:
    if os.path.isdir(directory):
        for entry in os.scandir(directory):
            if entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def _remove(directory: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)


async def _import(
    store: ImageCatalogue, path: str, name: str, config: ImageConfig, origin: str, say: Callable[[str], None]
) -> None:
    # Dated like what it was made of, so that doing it again gives the same image.
    image = await import_tar(
        store,
        file_body(path),
        name=parse_normalized(name),
        config=config,
        message=f"Bootstrapped from {os.path.basename(origin)}",
        created_ns=os.stat(origin).st_mtime_ns,
    )
    say(f"Loaded image: {name}")
    say(image.id)
