"""The key `builder` of daemon.json, as dockerd has it.

    {"builder": {"gc": {"enabled": true, "defaultReservedSpace": "20GB",
                        "policy": [{"reservedSpace": "5GB", "filter": ["unused-for=48h"], "all": true}]},
                 "entitlements": {"network-host": false}}}

Sizes of a rule: `CacheSpace`. A rule without any takes out all that its filters let through. The default
sizes are those of the one rule that there is without `policy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from corten.builder.entitlements import DEVICE, NETWORK_HOST, SECURITY_INSECURE
from corten.builder.keeping import KeepRule
from corten.builder.pruning import selector_of, unused_since
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.types.operations import CacheSpace
from corten.units import parse_binary_size

DEFAULT_SPACE = CacheSpace(reserved=20 << 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderConfig:
    """`denied`: entitlements that no build is granted."""

    keep_rules: Sequence[KeepRule] = ()
    denied: frozenset[str] = frozenset()


class _Rule(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    reserved_space: str = ""
    max_used_space: str = ""
    min_free_space: str = ""
    keep_storage: str = ""  # the first one's old name
    filter: list[str] | dict[str, dict[str, bool]] | None = None
    all: bool = False


class _Gc(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    enabled: bool | None = None
    default_reserved_space: str = ""
    default_max_used_space: str = ""
    default_min_free_space: str = ""
    default_keep_storage: str = ""
    policy: list[_Rule] | None = None


class _Entitlements(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    network_host: bool | None = None
    security_insecure: bool | None = None
    device: bool | None = None


class _Builder(msgspec.Struct, forbid_unknown_fields=True):
    gc: _Gc | None = None
    entitlements: _Entitlements | None = None


def parse_builder_config(document: object) -> BuilderConfig:
    """The value of the key. Raises InvalidParameter."""
    try:
        found = msgspec.convert(document, _Builder | None) or _Builder()
        return BuilderConfig(keep_rules=_rules(found.gc or _Gc()), denied=_denied(found.entitlements))
    except (msgspec.ValidationError, ValueError, InvalidParameter) as error:
        raise InvalidParameter(f"invalid builder in the configuration: {error}") from error


def _rules(gc: _Gc) -> list[KeepRule]:
    if gc.enabled is False:
        return []
    if gc.policy is not None:
        return [_rule(each) for each in gc.policy]
    reserved = gc.default_reserved_space or gc.default_keep_storage
    space = _space(reserved, gc.default_max_used_space, gc.default_min_free_space)
    return [KeepRule(space=DEFAULT_SPACE if space == CacheSpace() else space)]


def _rule(document: _Rule) -> KeepRule:
    filters = _filters(document.filter or [])
    selector_of(filters), unused_since(filters)  # now, not after the first build
    reserved = document.reserved_space or document.keep_storage
    space = _space(reserved, document.max_used_space, document.min_free_space)
    return KeepRule(space=space, filters=filters, all=document.all)


def _space(reserved: str, max_used: str, min_free: str) -> CacheSpace:
    sizes = [parse_binary_size(text) if text else 0 for text in (reserved, max_used, min_free)]
    return CacheSpace(reserved=sizes[0], max_used=sizes[1], min_free=sizes[2])


def _filters(documents: list[str] | Mapping[str, Mapping[str, bool]]) -> Filters:
    if isinstance(documents, Mapping):
        return Filters(
            {name: [value for value in values if values[value]] for name, values in documents.items()}
        )
    found: dict[str, list[str]] = {}
    for text in documents:
        name, _, value = text.partition("=")
        found.setdefault(name.strip().lower(), []).append(value.lstrip("=").strip())
    return Filters(found)


def _denied(said: _Entitlements | None) -> frozenset[str]:
    if said is None:
        return frozenset()
    allowed = {
        NETWORK_HOST: said.network_host,
        SECURITY_INSECURE: said.security_insecure,
        DEVICE: said.device,
    }
    return frozenset(name for name, is_allowed in allowed.items() if is_allowed is False)
