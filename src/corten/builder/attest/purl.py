"""Package URLs. Source: package-url/purl-spec, PURL-SPECIFICATION.rst."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from corten.platforms import Platform
from corten.reference import parse_normalized


def package_url(
    kind: str,
    name: str,
    version: str = "",
    *,
    namespace: str = "",
    qualifiers: Mapping[str, str] | None = None,
) -> str:
    """`pkg:kind/namespace/name@version?key=value`.

    >>> package_url("deb", "bash", "5.2-1", namespace="debian", qualifiers={"arch": "amd64"})
    'pkg:deb/debian/bash@5.2-1?arch=amd64'
    """
    parts = [*(part for part in namespace.split("/") if part), name]
    text = f"pkg:{kind}/{'/'.join(quote(part, safe='.-_~') for part in parts)}"
    if version:
        text += f"@{quote(version, safe='.-_~:')}"
    found = sorted((key, value) for key, value in (qualifiers or {}).items() if value)
    if found:
        text += "?" + "&".join(f"{key}={quote(value, safe='.-_~:')}" for key, value in found)
    return text


def image_url(reference: str, platform: Platform | None) -> str:
    """An image by its name. Raises InvalidReference.

    >>> image_url("alpine:3.17", None)
    'pkg:docker/alpine@3.17'
    """
    parsed = parse_normalized(reference)
    if parsed.digest is None:
        parsed = parsed.with_default_tag()
    namespace, _, name = parsed.familiar_name.rpartition("/")
    qualifiers = {"digest": parsed.digest or "", "platform": str(platform or "")}
    return package_url("docker", name, parsed.tag or "", namespace=namespace, qualifiers=qualifiers)
