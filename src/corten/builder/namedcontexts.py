"""Named contexts as the API is given them: `--build-context NAME=` a URL, an image, or files in the body."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from corten.builder.credentials import redacted
from corten.builder.gitref import parse_git_ref
from corten.builder.graph import SCRATCH, CopyAction, File, HttpSource, LocalSource, Vertex
from corten.builder.results import Directory
from corten.builder.session import Session
from corten.builder.sources import NamedContext
from corten.errors import InvalidParameter
from corten.reference import parse_normalized

_IMAGE = "docker-image://"
_LOCAL = "local:"
_ARCHIVE = "context"


@dataclass(slots=True)
class NamedContexts:
    """`found`: by name. `apart`: which directories of the body are contexts, and where they go to."""

    found: dict[str, NamedContext] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)


def named_contexts(session: Session, given: Mapping[str, str]) -> NamedContexts:
    """Raises InvalidParameter for what is none."""
    contexts = NamedContexts()
    for name, value in given.items():
        if value.startswith(_LOCAL):
            directory = session.new_directory("named", mode=0o755)
            contexts.apart[_inside(value.removeprefix(_LOCAL))] = directory
            path = os.path.join(directory, "context")
            session.directories[path] = Directory(path)
            vertex = Vertex(op=LocalSource(key=path), name=f"[context {name}]")
            contexts.found[name.lower()] = NamedContext(vertex=vertex)
        elif value.startswith(_IMAGE):
            parse_normalized(value.removeprefix(_IMAGE))
            contexts.found[name.lower()] = NamedContext(image=value.removeprefix(_IMAGE))
        elif remote := remote_context(value):
            contexts.found[name.lower()] = remote
        else:
            raise InvalidParameter(f"unsupported context source {value.partition(':')[0]} for {name}")
    return contexts


def remote_context(value: str) -> NamedContext | None:
    """What a URL names: a git repository, or an archive that is unpacked; None if it is no URL."""
    if git := parse_git_ref(value, context=True):
        return NamedContext(vertex=Vertex(op=git.source(), name=value))
    if value.startswith(("http://", "https://")):
        return NamedContext(vertex=_unpacked(value))
    return None


def _unpacked(url: str) -> Vertex:
    """The files of an archive that a URL names."""
    fetched = Vertex(op=HttpSource(url=url, filename=_ARCHIVE), name=url)
    action = CopyAction(input=1, sources=(f"/{_ARCHIVE}",), destination="/", unpack=True)
    return Vertex(op=File(actions=(action,)), inputs=(SCRATCH, fetched), name=f"ADD {redacted(url)} /")


def _inside(path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise InvalidParameter(f"invalid path of a context: {path}")
    return path
