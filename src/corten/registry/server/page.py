"""Pages for people: what is here, and what to type to get it. No scripts, nothing from elsewhere."""

from __future__ import annotations

import time
from html import escape
from urllib.parse import quote

from corten.errors import InvalidParameter
from corten.oci.image import INDEX_TYPES, decode_index, decode_manifest
from corten.reference import is_repository_path
from corten.registry.server.catalogue import StoredManifest
from corten.registry.server.errors import Refused
from corten.registry.server.messages import Reply
from corten.registry.server.parts import Parts

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}"
    "a{color:#8a3b12}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd}"
    "code{font-size:.9em}.n{text-align:right}"
)
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_KIB = 1024.0


def render(parts: Parts, repository: str, host: str) -> Reply:
    """The list of repositories (repository "") or one repository's tags. Raises Refused."""
    if not repository:
        return _page("Repositories", _repositories(parts))
    if not is_repository_path(repository) or parts.store.tags(repository) is None:
        raise Refused("NAME_UNKNOWN", "no such repository")
    return _page(repository, _tags(parts, repository, host))


def _page(title: str, content: str) -> Reply:
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f'<p><a href="/">Corten registry</a></p><h1>{escape(title)}</h1>{content}</html>\n'
    )
    return Reply(200, dict(_HEADERS), text.encode())


def _repositories(parts: Parts) -> str:
    names = parts.store.repositories()
    if not names:
        return "<p>Nothing has been pushed yet.</p>"
    rows = "".join(
        f'<tr><td><a href="/r/{quote(name)}">{escape(name)}</a>'
        f'<td class="n">{len(parts.store.tags(name) or ())}'
        for name in names
    )
    return f'<table><tr><th>Name<th class="n">Tags{rows}</table>'


def _tags(parts: Parts, repository: str, host: str) -> str:
    rows = []
    changed = {tag: ns for tag, _, ns in parts.store.catalogue.tag_summaries(repository)}
    for tag in parts.store.tags(repository) or ():
        manifest = parts.store.manifest(repository, tag)
        if manifest is None:
            continue
        referrers = len(parts.store.catalogue.referrers(repository, manifest.digest))
        when = changed.get(tag)
        shown = time.strftime("%Y-%m-%d %H:%M", time.gmtime(when / 1e9)) if when else "engine's image"
        rows.append(
            f"<tr><td><b>{escape(tag)}</b><td><code>{escape(manifest.digest[:19])}</code>"
            f'<td>{_described(manifest)}<td class="n">{referrers or ""}<td>{shown}'
            f"<td><code>docker pull {escape(host)}/{escape(repository)}:{escape(tag)}</code>"
        )
    return (
        '<table><tr><th>Tag<th>Digest<th>Content<th class="n">Referrers<th>Changed<th>Pull'
        f"{''.join(rows)}</table>"
    )


def _described(manifest: StoredManifest) -> str:
    try:
        if manifest.media_type in INDEX_TYPES:
            platforms = [
                f"{d.platform.os}/{d.platform.architecture}"
                for d in decode_index(manifest.raw).manifests
                if d.platform
            ]
            return escape(", ".join(platforms)[:200]) or "index"
        document = decode_manifest(manifest.raw)
    except InvalidParameter:
        return ""
    return f"{_size(sum(layer.size for layer in document.layers))} in {len(document.layers)} layers"


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < _KIB:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _KIB
    return f"{size:.1f} GiB"
