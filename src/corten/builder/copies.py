"""COPY, ADD and WORKDIR → File vertices."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urlsplit

import msgspec

from corten.builder.credentials import redacted
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.instructions import Add, Copy, Workdir
from corten.builder.dockerfile.lexer import Heredoc
from corten.builder.dockerfile.shell import expand, expand_raw
from corten.builder.gitref import GitRef, parse_git_ref
from corten.builder.graph import (
    SCRATCH,
    Action,
    CopyAction,
    File,
    HttpSource,
    InlineFile,
    InlineSource,
    LocalSource,
    Merge,
    MkdirAction,
    Vertex,
)
from corten.builder.runs import INLINE
from corten.builder.sources import FindSource
from corten.builder.stage import StageState
from corten.digest import parse_digest
from corten.errors import InvalidParameter


async def copy(state: StageState, instruction: Copy, find: FindSource, *, fresh: bool) -> Vertex:
    """The vertex of a COPY; with it (or, with --link, with it merged) the stage goes on."""
    _refuse_variables(instruction.source_from)
    work = _Work(state, instruction, "COPY")
    for source in work.sources:
        if parse_git_ref(source):
            raise DockerfileError("source can't be a git ref for COPY", located=False)
        if is_http(source):
            raise DockerfileError("source can't be a URL for COPY", located=False)
    work.add_paths(await find(instruction.source_from), instruction.sources, parents=instruction.parents)
    work.add_heredocs()
    return work.finish(fresh=fresh)


def _refuse_variables(source_from: str) -> None:
    if expand(source_from, {}) != source_from:
        raise DockerfileError(
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from "
            "global scope as a workaround",
            located=False,
        )


async def add(state: StageState, instruction: Add, find: FindSource, *, fresh: bool) -> Vertex:
    """The vertex of an ADD; it becomes the stage's root."""
    work = _Work(state, instruction, "ADD")
    checksum = state.expand(instruction.checksum)
    if checksum and len(work.sources) + len(work.heredocs) != 1:
        raise DockerfileError("checksum can't be specified for multiple sources", located=False)
    local = []
    for source in work.sources:
        if git := parse_git_ref(source):
            work.add_git(git, checksum, instruction.keep_git_dir)
        elif is_http(source):
            work.add_url(source, checksum, unpack=bool(instruction.unpack))
        else:
            local.append(source)
    if checksum and (local or work.heredocs):
        raise DockerfileError("checksum requires HTTP(S) or Git sources", located=False)
    if local:
        work.add_paths(await find(""), local, unpack=instruction.unpack is not False, expanded=True)
    work.add_heredocs()
    return work.finish(fresh=fresh)


def workdir(state: StageState, instruction: Workdir, *, fresh: bool) -> Vertex | None:
    """The vertex that makes the directory; None for `/`, which is always there."""
    path = state.absolute(state.expand(instruction.path)).rstrip("/") or "/"
    state.image = state.image.with_config(working_dir=path)
    vertex = None
    if path != "/":
        make = MkdirAction(path=path, owner=state.image.config.user)
        vertex = Vertex(
            op=File(actions=(make,)), inputs=(state.root,), name=instruction.text, ignore_cache=fresh
        )
        state.root = vertex
    state.image = state.image.committed(f"WORKDIR {path}", layer=vertex is not None)
    return vertex


def is_http(source: str) -> bool:
    """Whether ADD fetches the source by HTTP (or, by `gitref`, by git)."""
    return source.lower().startswith(("http://", "https://"))


class _Work:
    """A COPY or ADD on its way to a vertex: inputs and actions are gathered, then joined in `finish`."""

    def __init__(self, state: StageState, instruction: Copy | Add, keyword: str) -> None:
        self.state = state
        self.instruction = instruction
        self.keyword = keyword
        self.heredocs = instruction.heredocs
        self.sources = [state.expand(source) for source in instruction.sources]
        self.shown_destination = state.expand(instruction.destination)
        self.destination = state.absolute(self.shown_destination)
        self.owner = state.expand(instruction.chown)
        self.mode = state.expand(instruction.chmod)
        self.inputs = [state.root]
        self.actions: list[Action] = []
        if state.classic:
            self._check_destination()

    def _check_destination(self) -> None:
        if len(self.sources) + len(self.heredocs) > 1 and not self.destination.endswith("/"):
            raise DockerfileError(
                f"When using {self.keyword} with more than one source file, "
                "the destination must be a directory and end with a /",
                located=False,
            )

    def add_paths(
        self,
        source: Vertex,
        paths: list[str] | tuple[str, ...],
        *,
        unpack: bool = False,
        parents: bool = False,
        expanded: bool = False,
    ) -> None:
        if not paths:
            return
        words = list(paths) if expanded else [self.state.expand(path) for path in paths]
        if self.state.classic and isinstance(source.op, LocalSource):
            self._refuse_outside(words)
        self.inputs.append(source)
        self.actions.append(
            self._action([pattern_inside(word, parents=parents) for word in words], unpack, parents)
        )

    def _refuse_outside(self, words: list[str]) -> None:
        for word in words:
            if posixpath.normpath(word).split("/")[0] == "..":
                raise InvalidParameter(
                    f"{self.keyword} failed: forbidden path outside the build context: {word} ()"
                )

    def add_url(self, url: str, checksum: str, *, unpack: bool) -> None:
        name = posixpath.basename(unquote(urlsplit(url).path))
        if not name or name in (".", ".."):
            if self.state.classic and self.destination.endswith("/"):
                raise DockerfileError(f"cannot determine filename for source {redacted(url)}", located=False)
            name = "__unnamed__"
        digest = parse_digest(checksum) if checksum else ""
        self.inputs.append(Vertex(op=HttpSource(url=url, filename=name, checksum=digest), name=redacted(url)))
        self.actions.append(self._action([escape_pattern(f"/{name}")], unpack, parents=False))

    def add_git(self, git: GitRef, checksum: str, keep_git_dir: bool | None) -> None:
        if keep_git_dir is not None and git.keep_git_dir not in (None, keep_git_dir):
            raise DockerfileError("inconsistent keep-git-dir configuration", located=False)
        source = git.source(keep_git_dir=bool(keep_git_dir))
        if checksum:
            if source.checksum not in ("", checksum):
                message = f'checksum mismatch "{checksum}" != "{source.checksum}"'
                raise DockerfileError(message, located=False)
            source = msgspec.structs.replace(source, checksum=checksum)
        self.inputs.append(Vertex(op=source, name=redacted(git.remote)))
        self.actions.append(self._action(["/"], False, parents=False))

    def add_heredocs(self) -> None:
        if not self.heredocs:
            return
        files = tuple(self._inline(heredoc) for heredoc in self.heredocs)
        self.inputs.append(Vertex(op=InlineSource(files=files), name=INLINE))
        self.actions.append(
            self._action([escape_pattern(f"/{file.name}") for file in files], False, parents=False)
        )

    def _inline(self, heredoc: Heredoc) -> InlineFile:
        content = heredoc.content
        if heredoc.expand:
            content = expand_raw(content, self.state.variables)
        return InlineFile(name=heredoc.name, content=content)

    def _action(self, patterns: list[str], unpack: bool, parents: bool) -> CopyAction:
        return CopyAction(
            input=len(self.inputs) - 1,
            sources=tuple(patterns),
            destination=self.destination,
            owner=self.owner,
            mode=self.mode,
            unpack=unpack,
            parents=parents,
            may_find_nothing=not self.state.classic,
            needs_slash=self.state.classic and not parents,
            exclude=tuple(self.state.expand(pattern) for pattern in self.instruction.exclude),
        )

    def finish(self, *, fresh: bool) -> Vertex:
        state = self.state
        independent = self._is_independent()
        copied = Vertex(
            op=File(actions=tuple(self.actions)),
            inputs=(SCRATCH, *self.inputs[1:]) if independent else tuple(self.inputs),
            name=redacted(self.instruction.text),
            ignore_cache=fresh,
        )
        state.root = (
            Vertex(op=Merge(), inputs=(state.root, copied), name=f"LINK {copied.name}")
            if independent
            else copied
        )
        names = [*map(redacted, self.sources), *(f"<<{heredoc.name}" for heredoc in self.heredocs)]
        flags = ["--parents"] if isinstance(self.instruction, Copy) and self.instruction.parents else []
        flags += [f"--chown={self.owner}"] if self.owner else []
        flags += [f"--chmod={self.mode}"] if self.mode else []
        created_by = " ".join([self.keyword, *flags, *names, self.shown_destination, "# buildkit"])
        state.image = state.image.committed(created_by, layer=True)
        return copied

    def _is_independent(self) -> bool:
        """--link: a layer of its own. An owner by name has to be looked up in the root, which ends that."""
        return self.instruction.link and all(part.isdecimal() for part in self.owner.split(":") if part)


def pattern_inside(source: str, *, parents: bool = False) -> str:
    """The pattern with everything that could lead out of the source's root removed, absolute.

    With `parents`, a `/./` in it stays: what is before it is not repeated below the destination.

    >>> pattern_inside("../../a/./b/"), pattern_inside("a/./b", parents=True)
    ('/a/b', '/a/./b')
    """
    if parents and "/./" in source:
        before, _, after = source.partition("/./")
        return posixpath.join(pattern_inside(before), ".", pattern_inside(after).lstrip("/"))
    return "/" + posixpath.normpath(posixpath.join("/", source)).lstrip("/")


def escape_pattern(path: str) -> str:
    """A pattern that matches exactly `path`."""
    return "".join(f"\\{char}" if char in "*?[\\" else char for char in path)
