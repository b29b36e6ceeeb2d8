"""The builds that have ended, as files: they are there for the engine's next life too.

Up to three for each below <root>/builder/history, named by the digest of its ref: NAME.told, what the build
has told (messages, each after its length of four bytes), NAME.blobs, what the record refers to (compressed,
in the same form), and then NAME.record. Without the record there is no build: the engine has died before.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from corten.builder.blocking import run_blocking
from corten.buildkit.proto.control_pb2 import BuildHistoryRecord, StatusResponse
from corten.digest import digest_of, hex_of

log = logging.getLogger(__name__)

_LENGTH = 4
_KINDS = ("record", "told", "blobs")
_COMPRESSION = 1  # a build waits for it


class HistoryFiles:
    """The files below an engine's root."""

    def __init__(self, root: str) -> None:
        self._path = Path(root, "builder", "history")
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> list[BuildHistoryRecord]:
        """All records, oldest first. Removes what does not belong to any."""
        records = []
        for path in self._path.glob("*.record"):
            record = _parsed(path)
            if record is not None and path == self._of(record.ref, "record"):
                records.append(record)
        known = {self._of(record.ref, kind) for record in records for kind in _KINDS}
        for path in self._path.iterdir():
            if path not in known:
                path.unlink()
        return sorted(records, key=lambda record: record.created_at.ToNanoseconds())

    def size(self, ref: str) -> int:
        """Bytes of what a build has told, and of blobs."""
        found = 0
        for kind in ("told", "blobs"):
            with suppress(OSError):
                found += self._of(ref, kind).stat().st_size
        return found

    def save(
        self, record: BuildHistoryRecord, told: Iterable[StatusResponse], blobs: Sequence[bytes]
    ) -> None:
        """Write all files. Raises OSError."""
        with self._of(record.ref, "told").open("wb") as file:
            for response in told:
                _write(file, response.SerializeToString())
        if blobs:
            with self._of(record.ref, "blobs").open("wb") as file:
                for blob in blobs:
                    _write(file, zlib.compress(blob, _COMPRESSION))
        self.save_record(record)

    def blob(self, ref: str, digest: str) -> bytes | None:
        """What a record refers to, None if it is not there. Blocking."""
        with suppress(OSError, zlib.error), self._of(ref, "blobs").open("rb") as file:
            while data := _read(file):
                blob = zlib.decompress(data)
                if digest_of(blob) == digest:
                    return blob
        return None

    def save_record(self, record: BuildHistoryRecord) -> None:
        """Write or replace the record. Raises OSError."""
        fresh = self._of(record.ref, "fresh")
        fresh.write_bytes(record.SerializeToString())
        fresh.replace(self._of(record.ref, "record"))

    def remove(self, ref: str) -> None:
        """Forget a build, whatever there is of it."""
        for kind in (*_KINDS, "fresh"):
            with suppress(OSError):
                self._of(ref, kind).unlink()

    async def told(self, ref: str) -> AsyncIterator[StatusResponse]:
        """What a build has told, as far as it is there."""
        try:
            path = self._of(ref, "told")
            file = await run_blocking(lambda: path.open("rb"))
        except OSError:
            return
        with file:
            while (response := await run_blocking(lambda: _next(file))) is not None:
                yield response

    def _of(self, ref: str, kind: str) -> Path:
        return self._path / f"{hex_of(digest_of(ref.encode()))}.{kind}"


def _next(file: BinaryIO) -> StatusResponse | None:
    data = _read(file)
    return StatusResponse.FromString(data) if data else None


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(len(data).to_bytes(_LENGTH, "big") + data)


def _read(file: BinaryIO) -> bytes:
    """The next part; nothing at the end, or where the file is torn."""
    size = int.from_bytes(file.read(_LENGTH), "big")
    data = file.read(size)
    return data if len(data) == size else b""


def _parsed(path: Path) -> BuildHistoryRecord | None:
    try:
        return BuildHistoryRecord.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        log.warning("a build's record cannot be read: %s", error, extra={"path": str(path)})
        return None
