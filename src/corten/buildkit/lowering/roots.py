"""Files of sources as root file systems."""

from __future__ import annotations

from corten.builder.convert import as_root
from corten.builder.graph import GitSource, HttpSource, InlineSource, LocalSource, Vertex

_FILES = (LocalSource, HttpSource, GitSource, InlineSource)


def has_mere_files(vertex: Vertex) -> bool:
    """Whether the vertex gives a directory and no layers."""
    return isinstance(vertex.op, _FILES)


def rooted(vertex: Vertex) -> Vertex:
    """As a root file system; mere files are copied into an empty one."""
    return as_root(vertex) if has_mere_files(vertex) else vertex
