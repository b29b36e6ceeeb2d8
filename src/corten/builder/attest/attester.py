"""Everything that is to be attested of one build's results, for whatever they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from corten.builder.attest.materials import Materials
from corten.builder.attest.options import V02, AttestOptions, ProvenanceOptions
from corten.builder.attest.provenance import Request, Result, provenance
from corten.builder.attest.sbom.scanner import Scanner
from corten.builder.graph import SCRATCH, Vertex
from corten.builder.results import Snapshot
from corten.images.claims import Claim
from corten.platforms import host_platform

TellOf = Callable[[str], AbstractContextManager[object]]
"""Tells of a step of this name for the time of a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attester:
    """Of one build. `scanner`: None if no SBOM is wanted. `tell`: for what is no step of the graph."""

    options: AttestOptions
    request: Request
    materials: Materials
    layers_of: Callable[[Vertex], Sequence[str] | None]
    scanner: Scanner | None
    tell: TellOf

    async def claims(self, platform: str, root: Vertex | None, snapshot: Snapshot) -> list[Claim]:
        """What is said of one platform's result ("" = of the only one). Raises InvalidParameter."""
        found: list[Claim] = []
        label = platform or str(host_platform())
        root = root or SCRATCH
        if self.scanner is not None:
            extras = self.materials.scanned.get(root.digest, {})
            if self.scanner.options.generator:
                found += await self.scanner.scan(root, extras, label)
            else:
                with self.tell(f"[{label}] generating sbom"):
                    found += await self.scanner.read(snapshot, extras)
        if self.options.provenance is not None:
            diff_ids = [layer.diff_id for layer in snapshot.layers]
            found.append(self._provenance(root, diff_ids, self.options.provenance))
        return found

    def notes(self, roots: Mapping[str, Vertex | None]) -> dict[str, Claim]:
        """What the history says of the results by platform, whether or not anything is to be attested.

        All that is known but for how layers are called where they have gone, in the form of which every
        client knows how to read it.
        """
        asked = self.options.provenance
        options = ProvenanceOptions(version=V02, builder_id=asked.builder_id if asked else "")
        return {
            platform: self._provenance(root, self.layers_of(root) or (), options)
            for platform, root in roots.items()
            if root is not None
        }

    def _provenance(self, root: Vertex, diff_ids: Sequence[str], options: ProvenanceOptions) -> Claim:
        result = Result(root=root, diff_ids=diff_ids, layers_of=self.layers_of)
        return provenance(self.request, result, self.materials, options)
