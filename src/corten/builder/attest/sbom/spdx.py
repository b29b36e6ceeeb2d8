"""Packages as an SPDX document. Source: SPDX 2.3; purl-spec, PURL-TYPES.rst."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from corten import __version__
from corten.builder.attest.purl import package_url
from corten.builder.attest.sbom.packages import Package
from corten.digest import digest_of, hex_of
from corten.units import format_time

Json: TypeAlias = "dict[str, Any]"

PREDICATE = "https://spdx.dev/Document"
_NAMESPACE = "https://corten.invalid/sbom"
_NOTHING = "NOASSERTION"
_WORD = r"\(*[A-Za-z0-9][A-Za-z0-9.+-]*\)*"
_EXPRESSION = re.compile(rf"{_WORD}(?: (?:AND|OR|WITH) {_WORD})*")
_IDS = re.compile(r"[^A-Za-z0-9.-]+")
_UNKNOWN = {"deb": "debian", "apk": "alpine", "rpm": "rpm"}  # of what distribution, if it does not say


def document(name: str, packages: Sequence[Package], release: Mapping[str, str], created_ns: int) -> bytes:
    """The document of a file system; the same packages give the same one at the same time.

    `release`: what os-release says.
    """
    shown = [_system(release), *(_package(each, release) for each in packages)]
    listed = [each for each in shown if each is not None]
    related = [
        _relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-root"),
        *(_relation("SPDXRef-root", "CONTAINS", each["SPDXID"]) for each in listed),
    ]
    root = _entry("SPDXRef-root", "root file system", "") | {"primaryPackagePurpose": "CONTAINER"}
    content = digest_of(msgspec.json.encode([listed]))
    return msgspec.json.encode(
        {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": name,
            "documentNamespace": f"{_NAMESPACE}/{hex_of(content)}",
            "creationInfo": {
                "created": _seconds(created_ns),
                "creators": [f"Tool: corten-{__version__}"],
            },
            "packages": [root, *listed],
            "relationships": related,
        }
    )


def _seconds(created_ns: int) -> str:
    """SPDX has no fractions."""
    return format_time(created_ns // 1_000_000_000 * 1_000_000_000)


def _relation(element: str, kind: str, related: str) -> Json:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}


def _entry(identifier: str, name: str, version: str) -> Json:
    return {
        "SPDXID": identifier,
        "name": name,
        **({"versionInfo": version} if version else {}),
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "licenseConcluded": _NOTHING,
        "licenseDeclared": _NOTHING,
        "copyrightText": _NOTHING,
    }


def _system(release: Mapping[str, str]) -> Json | None:
    name = release.get("ID", "")
    if not name:
        return None
    found = _entry("SPDXRef-OperatingSystem", name, release.get("VERSION_ID", ""))
    return found | {"primaryPackagePurpose": "OPERATING-SYSTEM", "sourceInfo": "found in os-release"}


def _package(package: Package, release: Mapping[str, str]) -> Json:
    url = _url(package, release)
    identifier = (
        f"SPDXRef-{package.kind}-{_IDS.sub('-', package.name)}-{hex_of(digest_of(url.encode()))[:16]}"
    )
    found = _entry(identifier, package.name, package.version)
    if _EXPRESSION.fullmatch(package.license):
        found["licenseDeclared"] = package.license
    elif said := package.license or package.license_text:
        found["licenseComments"] = said
    if package.supplier:
        found["supplier"] = f"{'Organization' if package.kind == 'rpm' else 'Person'}: {package.supplier}"
    if package.homepage.startswith(("http://", "https://")):
        found["homepage"] = package.homepage
    found["sourceInfo"] = f"found in {package.found}"
    found["externalRefs"] = [
        {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}
    ]
    return found


def _url(package: Package, release: Mapping[str, str]) -> str:
    namespace, name = "", package.name
    qualifiers: dict[str, str] = {}
    if package.kind in _UNKNOWN:
        namespace = release.get("ID") or _UNKNOWN[package.kind]
        version = release.get("VERSION_ID", "")
        qualifiers = {
            "arch": package.architecture,
            "distro": f"{namespace}-{version}" if version else namespace,
            "epoch": package.epoch,
            "upstream": package.source,
        }
    elif package.kind == "npm":
        namespace, _, name = package.name.rpartition("/")
    return package_url(package.kind, name, package.version, namespace=namespace, qualifiers=qualifiers)
