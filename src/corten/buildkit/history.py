"""The newest builds, for `buildx history`: their records in memory and in files, what they told in files.

A build that has ended is written down at once, but its client is answered meanwhile: who asks for what is in
files waits for that (`written`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from corten.builder.blocking import run_blocking
from corten.builder.credentials import redacted
from corten.builder.export.targets import Target
from corten.buildkit.grpc.status import GRPCError
from corten.buildkit.historyfiles import HistoryFiles
from corten.buildkit.historyfilters import parse_history_filters
from corten.buildkit.progress import Progress, now
from corten.buildkit.proto.control_pb2 import (
    COMPLETE,
    DELETED,
    STARTED,
    BuildHistoryEvent,
    BuildHistoryEventType,
    BuildHistoryRecord,
    BuildHistoryRequest,
    Descriptor,
    Exporter,
    StatusResponse,
)
from corten.buildkit.proto.rpc_pb2 import Status
from corten.buildkit.traces import MEDIA_TYPE, Spans
from corten.digest import digest_of
from corten.errors import InvalidParameter, NotFound
from corten.images.attestations import PREDICATE, STATEMENT
from corten.images.claims import Claim

log = logging.getLogger(__name__)

Notes: TypeAlias = Callable[[], Mapping[str, Claim]]
"""What is to be said of a build's results, by platform ("" = the only one)."""

_STATUS = "application/vnd.googeapis.google.rpc.status+proto"  # as BuildKit spells it
_KEPT = 100
_KEPT_BYTES = 128 << 20  # of what builds have told


class History:
    """Records by ref. Event loop's thread only."""

    def __init__(self, files: HistoryFiles) -> None:
        self._files = files
        self._records = OrderedDict((record.ref, record) for record in files.load())
        self._sizes = {ref: files.size(ref) for ref in self._records}
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._watchers: set[asyncio.Queue[BuildHistoryEvent]] = set()

    def begin(
        self, ref: str, frontend: str, attributes: Mapping[str, str], targets: Sequence[Target]
    ) -> None:
        """A build has been asked for."""
        record = BuildHistoryRecord(
            ref=ref,
            frontend=frontend,
            frontend_attrs=_shown(attributes),
            exporters=[Exporter(type=each.type, attrs=dict(each.attributes)) for each in targets],
            created_at=now(),
        )
        if ref in self._records:
            self._forget(ref)
        self._records[ref] = record
        self._tell(STARTED, record)

    def describe(self, ref: str, frontend: str, attributes: Mapping[str, str]) -> None:
        """What the client that drives the build itself has asked the frontend for."""
        record = self._records.get(ref)
        if record is not None and not record.frontend:
            record.frontend = frontend
            record.frontend_attrs.update(_shown(attributes))

    def end(
        self,
        ref: str,
        progress: Progress,
        answer: Mapping[str, str],
        error: GRPCError | None,
        notes: Notes,
    ) -> None:
        """It has ended, and is written down from now on."""
        record = self._records.get(ref)
        if record is not None:
            ending = self._end(record, progress, answer, error, notes)
            writing = self._writing[ref] = asyncio.ensure_future(ending)
            writing.add_done_callback(lambda _: self._writing.pop(ref))

    async def _end(
        self,
        record: BuildHistoryRecord,
        progress: Progress,
        answer: Mapping[str, str],
        error: GRPCError | None,
        notes: Notes,
    ) -> None:
        record.completed_at.CopyFrom(now())
        record.generation += 1
        record.exporter_response.update(answer)
        record.total_steps, record.completed_steps, record.cached_steps = progress.counts()
        record.warnings = progress.warnings
        if error is not None:
            record.error.CopyFrom(
                Status(code=error.status.value, message=error.message, details=error.details)
            )
            record.external_error.CopyFrom(_described(_STATUS, record.error.SerializeToString()))
        ref = record.ref
        try:
            await run_blocking(lambda: self._files.save(record, progress.told(), _noted(record, notes())))
        except OSError as failure:
            log.warning("a build is not kept in the history", extra={"ref": ref, "error": str(failure)})
        if self._records.get(ref) is not record:
            self._files.remove(ref)  # deleted meanwhile
            return
        self._sizes[ref] = self._files.size(ref)
        self._tell(COMPLETE, record)
        while self._has_too_much() and (oldest := self._oldest()) is not None:
            self.delete(oldest)

    async def written(self, ref: str = "") -> None:
        """Wait until a build that has ended is written down; without `ref`, all of them."""
        writing = [task for each, task in self._writing.items() if ref in ("", each)]
        if writing:
            await asyncio.wait(writing)

    def _has_too_much(self) -> bool:
        return len(self._records) > _KEPT or sum(self._sizes.values()) > _KEPT_BYTES

    def _oldest(self) -> str | None:
        return next(
            (ref for ref, each in self._records.items() if not each.pinned and each.HasField("completed_at")),
            None,
        )

    def told(self, ref: str) -> AsyncIterator[StatusResponse] | None:
        """What an ended build has told, None if there is none of this name."""
        return self._files.told(ref) if ref in self._sizes else None

    async def blob(self, digest: str) -> bytes:
        """Something that a record refers to. Raises NotFound."""
        await self.written()
        for record in [*self._records.values()]:
            if record.HasField("error") and record.external_error.digest == digest:
                return record.error.SerializeToString()
            if record.HasField("trace") and record.trace.digest == digest:
                return await self._trace(record)
            if any(each.digest == digest for each in _attestations(record)):
                blob = await run_blocking(partial(self._files.blob, record.ref, digest))
                if blob is not None:
                    return blob
        raise NotFound(f"content digest {digest}: not found")

    async def _trace(self, record: BuildHistoryRecord) -> bytes:
        spans = Spans(record)
        async for told in self._files.told(record.ref):
            spans.take(told)
        return spans.encoded()

    async def finalize(self, ref: str) -> None:
        """Let the record of a build that has ended refer to its trace. Raises NotFound, OSError."""
        await self.written(ref)
        record = self._known(ref)
        if ref in self._sizes and not record.HasField("trace"):
            trace = _described(MEDIA_TYPE, await self._trace(record))
            if self._known(ref) is record:  # not deleted meanwhile
                record.trace.CopyFrom(trace)
                self._files.save_record(record)

    def _known(self, ref: str) -> BuildHistoryRecord:
        try:
            return self._records[ref]
        except KeyError:
            raise NotFound(f"no such build {ref}") from None

    async def pin(self, ref: str, pinned: bool) -> None:
        """Keep a record whatever comes. Raises NotFound, OSError."""
        await self.written(ref)
        record = self._known(ref)
        record.pinned = pinned
        if ref in self._sizes:
            self._files.save_record(record)

    def delete(self, ref: str) -> None:
        """Forget a build. Raises NotFound."""
        record = self._known(ref)
        self._forget(ref)
        self._tell(DELETED, record)

    def _forget(self, ref: str) -> None:
        self._records.pop(ref, None)
        self._sizes.pop(ref, None)
        self._files.remove(ref)

    def _tell(self, kind: BuildHistoryEventType, record: BuildHistoryRecord) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(_event(kind, record))

    async def listen(self, request: BuildHistoryRequest) -> AsyncIterator[BuildHistoryEvent]:
        """The records asked for, and (without `early_exit`) what happens to builds from now on.

        Filters and limit are for those that have ended. Raises InvalidParameter.
        """
        meant = parse_history_filters(request.filter)
        if request.limit < 0:
            raise InvalidParameter(f"invalid limit {request.limit}")
        await self.written()
        watcher: asyncio.Queue[BuildHistoryEvent] = asyncio.Queue()
        self._watchers.add(watcher)
        try:
            named = [each for each in self._records.values() if request.ref in ("", each.ref)]
            ended = [each for each in named if each.HasField("completed_at")]
            for record in [each for each in named if not each.HasField("completed_at")]:
                yield _event(STARTED, record)
            if not request.active_only:
                wanted = [each for each in reversed(ended) if meant(each)]
                for record in wanted[: request.limit or None]:
                    yield _event(COMPLETE, record)
            while not request.early_exit:
                event = await watcher.get()
                if request.ref in ("", event.record.ref):
                    yield event
        finally:
            self._watchers.discard(watcher)


def _shown(attributes: Mapping[str, str]) -> dict[str, str]:
    return {key: redacted(value) for key, value in attributes.items()}


def _noted(record: BuildHistoryRecord, notes: Mapping[str, Claim]) -> list[bytes]:
    """What a record is made to refer to; called in a thread: who looks at it meanwhile sees no halves."""
    blobs = []
    for platform, claim in notes.items():
        blobs.append(claim.predicate(()))
        info = record.results[platform] if platform else record.result
        info.attestations.append(_described(STATEMENT, blobs[-1], {PREDICATE: claim.predicate_type}))
    return blobs


def _described(media_type: str, blob: bytes, annotations: Mapping[str, str] | None = None) -> Descriptor:
    return Descriptor(
        media_type=media_type, digest=digest_of(blob), size=len(blob), annotations=annotations or {}
    )


def _attestations(record: BuildHistoryRecord) -> Iterator[Descriptor]:
    for info in (record.result, *record.results.values()):
        yield from info.attestations


def _event(kind: BuildHistoryEventType, record: BuildHistoryRecord) -> BuildHistoryEvent:
    event = BuildHistoryEvent(type=kind)
    event.record.CopyFrom(record)
    return event
