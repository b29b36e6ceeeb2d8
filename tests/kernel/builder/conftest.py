"""An engine's stores on a temporary root, and an executor that is as simple as can be: unshare and chroot."""

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from corten.builder.builder import Builder
from corten.builder.executor import BindDirectory, ExecSpec, OnOutput, SecretFile, Tmpfs
from corten.builder.store_images import StoreImages
from corten.images import ImageStore
from corten.metadata import Ledger
from corten.types.operations import BuildOptions
from corten.types.progress import JSONMessage

pytestmark = pytest.mark.root


class ChrootExecutor:
    """Mounts the overlay in a private mount namespace and chroots into it. Counts what it ran."""

    def __init__(self) -> None:
        self.specs: list[ExecSpec] = []

    async def run(self, spec: ExecSpec, on_output: OnOutput) -> int:
        self.specs.append(spec)
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("--propagation", "private", "sh", "-c", _script(spec), "sh", *spec.args),
                env=dict(item.split("=", 1) for item in spec.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(starting)
            await asyncio.gather(
                _pump(process.stdout, "stdout", on_output), _pump(process.stderr, "stderr", on_output)
            )
            return await process.wait()
        except BaseException:
            process = await starting
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise

    def leave(self, build: str) -> None:
        """Nothing is shared here."""


async def _pump(reader: asyncio.StreamReader, name: str, on_output: OnOutput) -> None:
    while data := await reader.read(65536):
        await on_output(name, data)


def _script(spec: ExecSpec) -> str:
    root = f"{spec.work}-root"
    os.makedirs(root, exist_ok=True)
    busybox = "/usr/bin/busybox"
    lines = [
        "set -e; export PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        f"O=lowerdir={':'.join(spec.lower)},upperdir={spec.upper},workdir={spec.work}",
        f"mount -t overlay -o $O overlay {root}",
        f"mkdir -p {root}{spec.cwd} {root}/proc {root}/dev {root}/etc; : >> {root}/etc/resolv.conf",
        f"mount -t proc proc {root}/proc; mount -t tmpfs dev {root}/dev; : > {root}/dev/null",
    ]
    for number, mount in enumerate(spec.mounts):
        target = root + mount.target
        if isinstance(mount, Tmpfs):
            lines.append(f"mkdir -p {target}; mount -t tmpfs tmpfs {target}")
        elif isinstance(mount, SecretFile):
            secret = f"{spec.work}-secret{number}"
            Path(secret).write_bytes(mount.content)
            os.chmod(secret, mount.mode)
            lines.append(f"mkdir -p $(dirname {target}); : > {target}; mount --bind {secret} {target}")
        elif isinstance(mount, BindDirectory):
            make = (
                f"mkdir -p {target}"
                if os.path.isdir(mount.source)
                else f"mkdir -p $(dirname {target}); : > {target}"
            )
            lines.append(f"{make}; mount --bind {mount.source} {target}")
            if mount.readonly:
                lines.append(f"mount -o remount,ro,bind {target}")
    env = " ".join(f"'{item}'" for item in spec.env)
    lines.append(
        f'exec env -i {env} {busybox} chroot {root} /bin/sh -c \'cd "$0"; exec "$@"\' \'{spec.cwd}\' "$@"'
    )
    return "\n".join(lines)


class Site:
    """Stores and a builder on `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        os.makedirs(root / "tmp", exist_ok=True)
        self.ledger = Ledger(str(root / "meta.db"))
        self.store = ImageStore(str(root), self.ledger)
        self.executor = ChrootExecutor()
        self.builder = Builder(
            root=str(root),
            ledger=self.ledger,
            layers=self.store.layers,
            workers=self.store.workers,
            images=StoreImages(self.store),
            store=self.store,
            executor=self.executor,
        )

    def close(self) -> None:
        self.store.close()
        self.ledger.close()

    def add_busybox(self, name: str = "bb:1", **config: object) -> str:
        return asyncio.run(self._add_busybox(name, **config))

    async def _add_busybox(self, name: str, **config: object) -> str:
        """An image of the machine's static busybox."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for directory in ("bin", "etc", "tmp", "root"):
                entry = tarfile.TarInfo(directory)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            tar.add("/usr/bin/busybox", "bin/busybox")
            applets = subprocess.run(
                ["/usr/bin/busybox", "--list"], capture_output=True, text=True, check=True
            )
            for applet in applets.stdout.split():
                if applet == "busybox":
                    continue
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
            for path, text in (
                ("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n"),
                ("etc/group", "root:x:0:\nstaff:x:50:\n"),
            ):
                entry = tarfile.TarInfo(path)
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
        with open(self.root / "bb.tar", "wb") as file:
            file.write(buffer.getvalue())
        with open(self.root / "bb.tar", "rb") as file:
            layer = await asyncio.to_thread(self.store.layers.unpack, file.fileno(), None)
        self.store.layers.adopt(layer)
        document = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], **config},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "bb"}],
        }
        images = StoreImages(self.store)
        image_id = await images.create(json.dumps(document).encode(), (layer.diff_id,))
        await images.tag(image_id, name)
        return image_id

    def build(self, text: str, files: dict[str, bytes | str] | None = None, **options: object) -> "Result":
        return asyncio.run(self.start(text, files, **options))

    def tar(self, files: dict[str, bytes | str]) -> bytes:
        return context_tar(files)

    def body(
        self, files: dict[str, bytes | str], pack: Callable[[bytes], bytes] = bytes
    ) -> AsyncIterator[bytes]:
        return chunks(pack(context_tar(files)))

    async def start(
        self,
        text: str,
        files: dict[str, bytes | str] | None = None,
        pack: Callable[[bytes], bytes] = bytes,
        **options: object,
    ) -> "Result":
        messages: list[JSONMessage] = []
        error: Exception | None = None
        body = self.body({"Dockerfile": text, **(files or {})}, pack)
        try:
            async for message in self.builder.build(BuildOptions(**options), body):
                messages.append(message)
        except Exception as raised:
            error = raised
        return Result(self, messages, error)


class Result:
    """What a build has said."""

    def __init__(self, site: Site, messages: list[JSONMessage], error: Exception | None) -> None:
        self.site = site
        self.messages = messages
        self.error = error

    @property
    def text(self) -> str:
        return "".join(message.stream for message in self.messages)

    @property
    def id(self) -> str:
        assert self.error is None, f"{self.error!r}\n{self.text}"
        return [message.aux["ID"] for message in self.messages if message.aux][-1]

    @property
    def document(self) -> dict[str, object]:
        return json.loads(self.site.store.resolve(self.id).raw_config)

    def lower(self) -> list[Path]:
        return [Path(path) for path in self.site.store.lower_dirs(self.id)]

    def find(self, path: str) -> Path:
        """Where the uppermost layer that has `path` has it."""
        for layer in self.lower():
            if os.path.lexists(layer / path):
                return layer / path
        raise FileNotFoundError(path)


def context_tar(files: dict[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str) and content.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, content[3:]
                tar.addfile(entry)
                continue
            data = content.encode() if isinstance(content, str) else content
            entry.size, entry.mode, entry.uid, entry.gid, entry.mtime = (
                len(data),
                0o644,
                501,
                20,
                1_600_000_000,
            )
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 32768):
        yield data[start : start + 32768]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "root")
    yield made
    leftovers = [name for name in os.listdir(made.root / "tmp") if name.startswith("build-")]
    made.close()
    shutil.rmtree(made.root, ignore_errors=True)
    assert leftovers == []
