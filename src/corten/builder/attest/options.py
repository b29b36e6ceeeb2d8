"""--provenance, --sbom and --attest: what is to be attested, and how.

Source: moby/buildkit, docs/attestations/slsa-provenance.md and sbom.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from corten.builder.booleans import parse_bool
from corten.builder.fields import comma_fields
from corten.errors import InvalidParameter
from corten.reference import parse_normalized

V1 = "v1"
V02 = "v0.2"
_OWN_PARAMETERS = ("mode", "version", "builder-id", "filename", "reproducible", "inline-only", "disabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenanceOptions:
    """`mode`: min or max. `inline_only`: beside images only, where it costs nothing."""

    mode: str = "max"
    version: str = V1
    builder_id: str = ""
    filename: str = "provenance.json"
    reproducible: bool = False
    inline_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SbomOptions:
    """`generator`: the image of a scanner, "" = ours. `parameters`: for it, by name."""

    generator: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestOptions:
    """What is to be attested."""

    provenance: ProvenanceOptions | None = None
    sbom: SbomOptions | None = None


def parse_attestations(texts: Mapping[str, str]) -> AttestOptions:
    """By kind what is said of it: `mode=max,...`, or "" alone. Raises InvalidParameter."""
    found = {kind.lower(): _fields(kind, text) for kind, text in texts.items()}
    for kind in found:
        if kind not in ("provenance", "sbom"):
            raise InvalidParameter(f'unknown attestation type "{kind}"')
    return AttestOptions(
        provenance=_provenance(found["provenance"]) if "provenance" in found else None,
        sbom=_sbom(found["sbom"]) if "sbom" in found else None,
    )


def _fields(kind: str, text: str) -> dict[str, str]:
    if "\n" in text or "\r" in text:
        raise InvalidParameter(f"failed to parse {kind}")
    words = comma_fields(text)
    found = {key.strip(): value for key, _, value in (word.partition("=") for word in words if word.strip())}
    found.pop("type", None)  # clients send the whole flag
    return found


def _provenance(fields: Mapping[str, str]) -> ProvenanceOptions | None:
    if _flag(fields, "disabled"):
        return None
    mode = {"full": "max", "": "max"}.get(fields.get("mode", ""), fields.get("mode", ""))
    if mode not in ("min", "max"):
        raise InvalidParameter(f'invalid mode "{mode}"')
    version = fields.get("version", V1)
    if version not in (V1, V02):
        raise InvalidParameter(f"invalid provenance SLSA version: {version}")
    filename = fields.get("filename", "provenance.json")
    if not filename or "/" in filename or filename in (".", ".."):
        raise InvalidParameter(f'invalid filename "{filename}" of the provenance')
    for name in fields:
        if name not in _OWN_PARAMETERS:
            raise InvalidParameter(f"the provenance's parameter {name} is not supported")
    return ProvenanceOptions(
        mode=mode,
        version=version,
        builder_id=fields.get("builder-id", ""),
        filename=filename,
        reproducible=_flag(fields, "reproducible"),
        inline_only=_flag(fields, "inline-only"),
    )


def _sbom(fields: Mapping[str, str]) -> SbomOptions | None:
    if _flag(fields, "disabled"):
        return None
    generator = ""
    if "generator" in fields:
        if not fields["generator"]:
            raise InvalidParameter("sbom generator cannot be empty")
        generator = str(parse_normalized(fields["generator"]).with_default_tag())
    parameters = {name: text for name, text in fields.items() if name not in ("generator", "disabled")}
    if parameters and not generator:
        raise InvalidParameter(
            f"the sbom's parameter {min(parameters)} is for a scanner: name its image (generator=IMAGE)"
        )
    return SbomOptions(generator=generator, parameters=parameters)


def _flag(fields: Mapping[str, str], name: str) -> bool:
    text = fields.get(name, "false")
    value = parse_bool(text)
    if value is None:
        raise InvalidParameter(f"failed to parse {name} flag {text!r}")
    return value
