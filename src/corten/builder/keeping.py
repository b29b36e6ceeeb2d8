"""How much of the build cache is kept: daemon.json's `builder.gc`, as dockerd has it.

    {"builder": {"gc": {"enabled": true, "defaultKeepStorage": "20GB",
                        "policy": [{"keepStorage": "5GB", "filter": ["unused-for=48h"], "all": true}]}}}

Each rule takes out what its filter lets through, the longest unused first, until `keepStorage` is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from corten.builder.cache import BuildCache
from corten.builder.cachemounts import MountEntry
from corten.builder.pruning import prune
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.units import parse_binary_size

DEFAULT_KEEP_BYTES = 20 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRule:
    """`unused_for`: only what nobody has used for so long ("48h"), "" = anything."""

    keep_bytes: int
    unused_for: str = ""
    all: bool = False


class _Rule(msgspec.Struct, rename="camel"):
    keep_storage: str | None = None
    filter: list[str] | None = None
    all: bool = False


class _Gc(msgspec.Struct, rename="camel"):
    enabled: bool = True
    default_keep_storage: str | None = None
    policy: list[_Rule] | None = None


class _Builder(msgspec.Struct):
    gc: _Gc | None = None


def parse_keep_rules(document: object) -> list[KeepRule]:
    """The value of daemon.json's key `builder`. Raises InvalidParameter."""
    try:
        found = (msgspec.convert(document, _Builder | None) or _Builder()).gc or _Gc()
        if not found.enabled:
            return []
        default = found.default_keep_storage
        keep_bytes = parse_binary_size(default) if default else DEFAULT_KEEP_BYTES
        rules = [_rule(each, keep_bytes) for each in found.policy or ()]
        return rules or [KeepRule(keep_bytes=keep_bytes)]
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidParameter(f"invalid builder.gc in the configuration: {error}") from error


def _rule(document: _Rule, keep_bytes: int) -> KeepRule:
    unused_for = ""
    for text in document.filter or ():
        name, separator, value = text.partition("=")
        if name not in ("unused-for", "until") or not separator:
            raise ValueError(f"filter {text!r}: only unused-for is supported")
        unused_for = value.lstrip("=")
    return KeepRule(
        keep_bytes=parse_binary_size(document.keep_storage) if document.keep_storage else keep_bytes,
        unused_for=unused_for,
        all=document.all,
    )


def keep(cache: BuildCache, rules: Sequence[KeepRule], mounts: Sequence[MountEntry] = ()) -> set[str]:
    """Apply the rules; what was taken out, by id. The mounts among that are the caller's to remove."""
    removed: set[str] = set()
    for rule in rules:
        here = [mount for mount in mounts if mount.id not in removed]
        if cache.size() + sum(mount.size for mount in here) <= rule.keep_bytes:
            continue
        filters = Filters({"until": [rule.unused_for]} if rule.unused_for else {})
        report = prune(cache, filters, all=rule.all, keep_bytes=max(1, rule.keep_bytes), mounts=here)
        removed.update(report.caches_deleted or ())
    return removed
