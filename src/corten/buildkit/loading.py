"""Loading a Dockerfile and its context: from the client's directories, or from where a URL leads."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from corten.builder.args import keeps_git_dir
from corten.builder.context import receive
from corten.builder.credentials import redacted
from corten.builder.graph import Vertex
from corten.builder.ignore import read_ignore_file
from corten.buildkit.attributes import BODY, DEFAULT_DOCKERFILE, FrontendOptions
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.contexts import IGNORE_FILE, LocalContext, ignore_text
from corten.buildkit.filesync import ask_texts
from corten.buildkit.grpc.status import GRPCError
from corten.buildkit.proto.llb_pb2 import SourceInfo
from corten.buildkit.textcall import TextCall
from corten.buildkit.workbench import Workbench
from corten.errors import InvalidParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A Dockerfile, its context, and the patterns of what is left out of it."""

    source: SourceInfo
    ignore: Sequence[str]
    context: Vertex


class Loader:
    """The loading of one build. `step`: digest of the step that has loaded the Dockerfile."""

    def __init__(self, options: FrontendOptions, bench: Workbench) -> None:
        self._options = options
        self._bench = bench
        self._locals: dict[str, LocalContext] = {}
        self.step = ""

    def want(self, roots: Iterable[Vertex]) -> None:
        """Note what the graphs take of the client's directories: only that is fetched."""
        wanted = list(roots)
        for local in self._locals.values():
            local.want(wanted)

    async def load(self) -> Loaded:
        """The Dockerfile and the context: from the client's directories, or from where a URL leads."""
        remote = self._options.context
        if remote:
            return await self._load_remote(remote)
        source, own_ignore_file, asked = await self._load_dockerfile()
        if own_ignore_file is None:
            patterns = read_ignore_file(await self._load_ignore_file(asked))
        else:
            patterns = read_ignore_file(own_ignore_file)
        context = self._local(self._options.context_name, "[internal] load build context")
        context.exclude(patterns)
        return Loaded(source=source, ignore=patterns, context=context.vertex)

    async def _load_remote(self, remote: str) -> Loaded:
        body: AsyncIterator[bytes] = _empty()
        if remote.startswith("http://buildkit-session/"):
            body, remote = ClientThings(self._bench.client).upload(remote), ""
        elif remote == BODY and self._bench.body is not None:
            body, remote = self._bench.body, ""
        with self._bench.progress.internal(
            f"[internal] load remote build context {redacted(remote)}".rstrip()
        ) as step:
            found = await receive(
                self._bench.session,
                self._bench.workers,
                body,
                dockerfile=self._options.filename,
                remote=remote,
                keep_git_dir=keeps_git_dir(self._options.build_args),
            )
            self.step = step.digest
        source = _source(self._options.filename, found.dockerfile.encode())
        return Loaded(source=source, ignore=found.ignore, context=found.vertex)

    def _local(self, name: str, label: str) -> LocalContext:
        """A directory of the client's, the same however often it is asked for."""
        context = self._locals.get(name)
        if context is None:
            context = LocalContext(self._bench, name, label)
            self._locals[name] = context
            self._bench.texts.names[context.vertex.digest] = label
        return context

    def named_directory(self, name: str, context: str) -> Vertex:
        """See OpenLocal."""
        return self._local(name, f"[context {context}] load from client").vertex

    async def _load_dockerfile(self) -> tuple[SourceInfo, str | None, TextCall]:
        """The Dockerfile, the .dockerignore that belongs to it alone if there is one, and the context's.

        That is asked for at the same time, as it is nearly always needed: nobody waits for the client twice.
        """
        filename = posixpath.normpath("/" + self._options.filename).lstrip("/")
        ignore_name = f"{filename}.dockerignore"
        names = [filename]
        above, slash, name = filename.rpartition("/")
        if name == DEFAULT_DOCKERFILE:
            names.append(above + slash + name.lower())
        with self._bench.progress.internal(
            f"[internal] load build definition from {self._options.filename}"
        ) as step:
            self.step = step.digest
            client, directory = self._bench.client, self._options.dockerfile_name
            self._bench.session.materials.directories.add(directory)
            asked = await ask_texts(client, directory, [*names, ignore_name])
            asked_ignore_file = await ask_texts(client, self._options.context_name, [IGNORE_FILE])
            try:
                fetched = await asked.texts()
                step.status("transferring dockerfile:", current=fetched.received_bytes, done=True)
                found = next((text for text in map(fetched.text, names) if text is not None), None)
                if found is None:
                    raise InvalidParameter(f"open {self._options.filename}: no such file or directory")
            except (GRPCError, InvalidParameter) as error:
                why = error.message if isinstance(error, GRPCError) else str(error)
                raise InvalidParameter(f"failed to read dockerfile: {why}") from error
        if not found.strip():
            raise InvalidParameter("the Dockerfile cannot be empty")
        ignored = fetched.text(ignore_name)
        source = _source(self._options.filename, found)
        own_ignore_file = None if ignored is None else ignored.decode(errors="replace")
        return source, own_ignore_file, asked_ignore_file

    async def _load_ignore_file(self, asked: TextCall) -> str:
        with self._bench.progress.internal("[internal] load .dockerignore") as step:
            fetched = await asked.texts()
            step.status("transferring context:", current=fetched.received_bytes, done=True)
            return ignore_text(fetched)


def _source(filename: str, data: bytes) -> SourceInfo:
    return SourceInfo(filename=filename, data=data, language="Dockerfile")


async def _empty() -> AsyncIterator[bytes]:
    for piece in tuple[bytes, ...]():
        yield piece
