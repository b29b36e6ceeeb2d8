"""SBOMs of a build's results: by our own reading, or by a scanner's image that runs as a step of the build.

The scanner's protocol: the file system read-only below $BUILDKIT_SCAN_SOURCE, further ones (stages, the
context) in directories below $BUILDKIT_SCAN_SOURCE_EXTRAS, statements (or mere SPDX
documents) written as files into $BUILDKIT_SCAN_DESTINATION. Source: moby/buildkit,
docs/attestations/sbom-protocol.md.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from corten.builder.attest.options import SbomOptions
from corten.builder.attest.sbom.spdx import PREDICATE
from corten.builder.blocking import job_output
from corten.builder.graph import SCRATCH, BindMount, Exec, ImageSource, Output, TmpfsMount, Vertex
from corten.builder.image import env_with_path
from corten.builder.ops.step import tree_of
from corten.builder.results import Result, Snapshot
from corten.builder.session import Session
from corten.builder.sources import BaseImage
from corten.errors import InvalidParameter
from corten.images.attestations import MAX_BLOB_BYTES
from corten.images.claims import Claim
from corten.oci.image import ImageConfig, decode_config
from corten.snapshots.workers import WorkerPool

_ENDING = ".spdx.json"
_CORE = "sbom"
_SOURCE, _EXTRAS, _DESTINATION = f"/run/src/core/{_CORE}", "/run/src/extras", "/run/out"

ResolveScanner = Callable[[str], Awaitable[BaseImage]]
"""The image of a scanner, by its name."""
SolveResult = Callable[[Vertex], Awaitable[Result]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """Makes the SBOMs of one build, of a result and of extras (stages, the context) by name.

    `created_ns`: when they say that they were made.
    """

    session: Session
    workers: WorkerPool
    options: SbomOptions
    solve: SolveResult
    resolve: ResolveScanner
    created_ns: int
    fresh: bool = False

    async def read(self, snapshot: Snapshot, extras: Mapping[str, Vertex]) -> list[Claim]:
        """Those that we make, that of the result first. Raises InvalidParameter, BuildFailed."""
        found = [_claim(f"{_CORE}{_ENDING}", await self._document(_CORE, snapshot))]
        for name, vertex in sorted(extras.items()):
            document = await self._document(_extra(name), await self.solve(vertex))
            found.append(_claim(f"{_extra(name)}{_ENDING}", document))
        return found

    async def scan(self, root: Vertex, extras: Mapping[str, Vertex], label: str) -> list[Claim]:
        """Those of the scanner, that of the result first. Raises InvalidParameter, BuildFailed."""
        image = await self.resolve(self.options.generator)
        made = await self.solve(self._step(image, root, extras, label))
        files = await self._files(made)
        core = [name for name in files if name.partition(".")[0] == _CORE]
        if not core:
            raise InvalidParameter(f"the scanner {self.options.generator} has written no {_CORE}.spdx.json")
        return [
            _claim(name, _predicate(name, files[name])) for name in (*core, *sorted(files.keys() - set(core)))
        ]

    async def _document(self, name: str, result: Result) -> bytes:
        params = {
            "name": name,
            "tree": tree_of(self.session, result),
            "mountpoint": self.session.mountpoint,
            "created_ns": self.created_ns,
        }
        written = await self._output("scan", params, limit=MAX_BLOB_BYTES + 1)
        if len(written) > MAX_BLOB_BYTES:
            raise InvalidParameter(f"an SBOM of more than {MAX_BLOB_BYTES} bytes is not attached")
        return written

    def _step(self, image: BaseImage, root: Vertex, extras: Mapping[str, Vertex], label: str) -> Vertex:
        """What the scanner leaves in its destination."""
        config = decode_config(image.config).config or ImageConfig()
        args = (*(config.entrypoint or ()), *(config.cmd or ()))
        if not args:
            raise InvalidParameter(f"scanner {self.options.generator} does not have cmd")
        env = env_with_path(config.env or ())
        told = {
            "DESTINATION": f"{_DESTINATION}/",
            "SOURCE": _SOURCE,
            **({"SOURCE_EXTRAS": _EXTRAS} if extras else {}),
            **self.options.parameters,
        }
        op = Exec(
            args=args,
            env=(*env, *(f"BUILDKIT_SCAN_{name}={value}" for name, value in told.items())),
            cwd=config.working_dir or "/",
            user=config.user,
            mounts=(
                TmpfsMount(target="/tmp"),  # noqa: S108 - the container's
                BindMount(input=1, source="/", target=_SOURCE),
                BindMount(input=2, source="/", target=_DESTINATION, readonly=False, kept=True),
                *(
                    BindMount(input=number, source="/", target=f"{_EXTRAS}/{_extra(each)}")
                    for number, each in enumerate(sorted(extras), 3)
                ),
            ),
        )
        base = Vertex(op=ImageSource(diff_ids=image.diff_ids), name=self.options.generator)
        name = f"[{label}] generating sbom using {self.options.generator}"
        inputs = (base, root, SCRATCH, *(extras[each] for each in sorted(extras)))
        ran = Vertex(op=op, inputs=inputs, name=name, ignore_cache=self.fresh)
        return Vertex(op=Output(number=0), inputs=(ran,), name=name)

    async def _files(self, made: Result) -> dict[str, bytes]:
        params = {"tree": tree_of(self.session, made), "mountpoint": self.session.mountpoint}
        return msgspec.msgpack.decode(await self._output("collect", params), type=dict[str, bytes])

    async def _output(self, job: str, params: Mapping[str, object], limit: int = sys.maxsize) -> bytes:
        job = f"corten.builder.attest.sbom.jobs:{job}"
        return await job_output(self.workers, job, params, self.session.path, limit=limit)


def _extra(name: str) -> str:
    return f"{_CORE}-{name}"


def _claim(filename: str, predicate: bytes) -> Claim:
    return Claim(predicate_type=PREDICATE, predicate=lambda _: predicate, filename=filename)


class _Written(msgspec.Struct):
    """What a scanner may have written: a statement, or the document itself."""

    predicate: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    predicate_type: str = msgspec.field(name="predicateType", default="")
    version: str = msgspec.field(name="spdxVersion", default="")


def _predicate(name: str, data: bytes) -> bytes:
    try:
        found = msgspec.json.decode(data, type=_Written)
        document: Any = msgspec.json.decode(data)  # all of it is sound
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"cannot decode in-toto statement {name}: {error}") from error
    if found.predicate_type == PREDICATE and found.predicate is not msgspec.UNSET:
        return msgspec.json.encode(document["predicate"])
    if found.version:
        return msgspec.json.encode(document)
    raise InvalidParameter(
        f"bundle entry {found.predicate_type or name} does not match required predicate type {PREDICATE}"
    )
