"""An image of about a gigabyte out of this machine's own files, with other digests each time it is written.

Three layers with what an image of Debian, Python and pip has: many small files, some large ones, directories
and links. The layers are packed once (gzip, level 6) and kept in .cache; a short tail of its own gives each
copy its digests.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SHARES = (0.6, 0.3, 0.1)  # of the three layers
_TOPS = ("/usr/lib", "/usr/share", "/usr/bin", "/usr/include", "/usr/local", "/opt")
_LARGE = 4 << 20
_PIECE = 1 << 20


@dataclass
class _Body:
    """A layer without its end: where it lies packed, and the digests so far."""

    packed: Path
    plain_hash: "hashlib._Hash"
    packed_hash: "hashlib._Hash"


class SampleImage:
    """The image. `files`: how many entries its layers have."""

    def __init__(self, megabytes: int, files: int, cache: Path) -> None:
        layers = [[] for _ in SHARES]
        bounds = [sum(SHARES[: n + 1]) * megabytes * 1e6 for n in range(len(SHARES))]
        done = 0
        for path, size in _chosen(megabytes * 1e6, files):
            layers[next(n for n, bound in enumerate(bounds) if done <= bound)].append(path)
            done += size
        self.bytes = done
        self.files = sum(map(len, layers))
        cache.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor() as threads:
            self._bodies = list(threads.map(lambda layer: _body(layer, cache), layers))

    def write(self, target: Path, seed: str) -> None:
        """Write a copy as an OCI layout whose only image is called x."""
        blobs = target / "blobs/sha256"
        blobs.mkdir(parents=True)
        diff_ids, layers = [], []
        for number, body in enumerate(self._bodies):
            tail = _tail(f"{seed} {number}")
            packed_tail = gzip.compress(tail, mtime=0)
            plain, packed = body.plain_hash.copy(), body.packed_hash.copy()
            plain.update(tail)
            packed.update(packed_tail)
            blob = blobs / packed.hexdigest()
            shutil.copyfile(body.packed, blob)
            with blob.open("ab") as file:
                file.write(packed_tail)
            diff_ids.append(f"sha256:{plain.hexdigest()}")
            layers.append(_descriptor(blob, "application/vnd.oci.image.layer.v1.tar+gzip"))
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _document(blobs, config, "application/vnd.oci.image.config.v1+json"),
            "layers": layers,
        }
        described = _document(blobs, manifest, manifest["mediaType"])
        described["annotations"] = {"org.opencontainers.image.ref.name": "x"}
        (target / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))


def _chosen(total: float, files: int) -> list[tuple[str, int]]:
    """Paths with the bytes each takes: every nth of the many, and large ones until the sum is as wanted."""
    found = list(_found())
    small = [each for each in found if each[1] < _LARGE]
    chosen = [small[n * len(small) // files] for n in range(min(files, len(small)))]
    missing = total - sum(size for _, size in chosen)
    for path, size in found:
        if _LARGE <= size <= missing:
            chosen.append((path, size))
            missing -= size
    return sorted(chosen)


def _found() -> Iterator[tuple[str, int]]:
    for top in _TOPS:
        for parent, directories, names in os.walk(top):
            directories.sort()
            yield parent, 0
            for name in sorted(names + [d for d in directories if os.path.islink(f"{parent}/{d}")]):
                status = os.lstat(path := f"{parent}/{name}")
                if stat.S_ISREG(status.st_mode):
                    yield path, status.st_size
                elif stat.S_ISLNK(status.st_mode):
                    yield path, 0


class _Sink:
    """Where tarfile writes: packed and stored."""

    def __init__(self, packed: Path) -> None:
        self._size = 0
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, 31)
        self._file = packed.open("wb")

    def tell(self) -> int:
        return self._size

    def write(self, data: bytes) -> int:
        self._size += len(data)
        self._file.write(self._deflate.compress(data))
        return len(data)

    def finish(self) -> None:
        self._file.write(self._deflate.flush())
        self._file.close()


def _body(paths: list[str], cache: Path) -> _Body:
    key = hashlib.sha256("\n".join(f"{p} {os.lstat(p).st_mtime_ns}" for p in paths).encode()).hexdigest()
    packed = cache / f"{key[:16]}.gz"
    if not packed.exists():
        half = packed.with_suffix(".half")
        sink = _Sink(half)
        tar = tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        for path in paths:
            tar.add(path, arcname=path.lstrip("/"), recursive=False)
        sink.finish()  # and no end of archive
        half.rename(packed)
    plain, inflate = hashlib.sha256(), zlib.decompressobj(31)
    with packed.open("rb") as file:
        while data := file.read(_PIECE):
            plain.update(inflate.decompress(data))
    with packed.open("rb") as file:
        return _Body(packed, plain, hashlib.file_digest(file, "sha256"))


def _tail(seed: str) -> bytes:
    """A small file and the archive's end."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo(f"seed-{seed.split()[-1]}")
        info.size = len(seed)
        tar.addfile(info, io.BytesIO(seed.encode()))
    return out.getvalue()


def _descriptor(blob: Path, media_type: str) -> dict:
    return {"mediaType": media_type, "digest": f"sha256:{blob.name}", "size": blob.stat().st_size}


def _document(blobs: Path, document: object, media_type: str) -> dict:
    raw = json.dumps(document).encode()
    blob = blobs / hashlib.sha256(raw).hexdigest()
    blob.write_bytes(raw)
    return _descriptor(blob, media_type)
