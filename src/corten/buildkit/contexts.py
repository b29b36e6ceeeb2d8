"""The build context: the client's directory, of which what is needed is fetched when it is needed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence

from corten.builder.graph import BindMount, CacheMount, CopyAction, Exec, File, LocalSource, Vertex
from corten.builder.ignore import read_ignore_file
from corten.builder.results import Directory
from corten.buildkit.filesync import Wanted, ask_texts, fetch_directory
from corten.buildkit.textcall import Texts
from corten.buildkit.workbench import Workbench
from corten.digest import digest_of
from corten.snapshots.uppers import is_small

IGNORE_FILE = ".dockerignore"
_FEW = 200  # files of a context that need no worker process


class LocalContext:
    """One of the client's directories as a vertex. `wanted`: what the build takes of it; None = all."""

    def __init__(self, bench: Workbench, name: str, label: str) -> None:
        self._session = session = bench.session
        self._client = bench.client
        self._progress = bench.progress
        self._kept = bench.kept
        self._workers = bench.workers
        self._name = name
        session.materials.directories.add(name)
        self._exclude: Sequence[str] | None = None
        self._wanted: set[str] | None = set()
        self._label = label
        # Numbered: a frontend may be asked again, and take other files of the same directory.
        key = f"{session.name}/{len(session.fetched)}-{name}"
        self.vertex = Vertex(op=LocalSource(key=key), name=label)
        session.fetched[key] = self._fetch

    def exclude(self, patterns: Sequence[str]) -> None:
        """Leave out what a .dockerignore says, instead of the directory's own."""
        self._exclude = patterns

    def want(self, roots: Iterable[Vertex]) -> None:
        """Note what the graphs below `roots` take of the directory."""
        for path in _taken(self.vertex, roots):
            if self._wanted is not None:
                self._wanted.add(path)
            if path == "":
                self._wanted = None

    async def _fetch(self) -> Directory:
        step = self._progress.step(self.vertex.digest, self._label)
        if self._exclude is None:
            asked = await ask_texts(self._client, self._name, [IGNORE_FILE])
            self._exclude = read_ignore_file(ignore_text(await asked.texts()))
        follow = sorted(self._wanted or ())
        kept = self._kept.take(self._key(follow)) if self._client.shared_key else None
        if kept is not None:
            self._session.on_close.callback(self._kept.give_back, kept)
        directory = kept.files if kept is not None else self._session.new_directory("context", mode=0o755)
        known = kept is not None and 0 < kept.count <= _FEW
        fetched = await fetch_directory(
            self._client,
            directory,
            Wanted(name=self._name, exclude=self._exclude, follow=follow),
            index=kept.index if kept is not None else "",
            workers=None if known else self._workers,  # few files are here before a worker is
            on_progress=lambda received: step.status("transferring context:", current=received),
        )
        step.status("transferring context:", current=fetched.received_bytes, done=True)
        if kept is None:
            self._session.has_little = small = is_small(directory)
            return Directory(directory, small=small, linkable=True)
        kept.count, kept.size = fetched.count, 2 * fetched.size  # what is recorded of its tar counts too
        self._session.has_little = True
        small = fetched.count <= _FEW and is_small(directory)
        return Directory(directory, small=small, index=kept.index, linkable=True)

    def _key(self, follow: Sequence[str]) -> str:
        parts = [self._client.shared_key, self._name, *(self._exclude or ()), "", *follow]
        return digest_of("\0".join(parts).encode())


def ignore_text(texts: Texts) -> str:
    """What is in a context's .dockerignore, "" if it has none. Raises InvalidParameter."""
    return (texts.text(IGNORE_FILE) or b"").decode(errors="replace")


def _taken(context: Vertex, roots: Iterable[Vertex]) -> Iterator[str]:
    """Paths, with wildcards, relative to the context; "" = all of it."""
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        vertex = waiting.pop()
        if vertex.digest in seen:
            continue
        seen.add(vertex.digest)
        waiting += vertex.inputs
        op = vertex.op
        if isinstance(op, File):
            for action in op.actions:
                if isinstance(action, CopyAction) and vertex.inputs[action.input] == context:
                    yield from (_relative(source) for source in action.sources)
        elif isinstance(op, Exec):
            for mount in op.mounts:
                if not isinstance(mount, BindMount | CacheMount) or mount.input is None:
                    continue
                if vertex.inputs[mount.input] == context:
                    yield _relative(mount.source)


def _relative(path: str) -> str:
    return posixpath.normpath(posixpath.join("/", path)).lstrip("/")
