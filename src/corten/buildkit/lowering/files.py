"""FileOp: changes to files. Actions that only go on with what the one before has made become one vertex."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from corten.builder.copies import escape_pattern
from corten.builder.graph import (
    Action,
    CopyAction,
    File,
    MkdirAction,
    MkfileAction,
    RemoveAction,
    SymlinkAction,
    Vertex,
)
from corten.buildkit.lowering.inputs import input_of
from corten.buildkit.lowering.roots import rooted
from corten.buildkit.proto import llb_pb2 as pb
from corten.errors import NotSupported
from corten.wire.gomode import from_go


@dataclass(slots=True)
class _Chain:
    """Actions upon a base that make one layer. `made`: the vertex, once somebody else needs it."""

    base: Vertex
    actions: list[Action] = field(default_factory=list)
    others: list[Vertex] = field(default_factory=list)
    made: Vertex | None = None

    def vertex(self, fresh: bool) -> Vertex:
        if self.made is None:
            name = "; ".join(map(_name, self.actions))[:1024]
            inputs = (self.base, *self.others)
            op = File(actions=tuple(self.actions))
            self.made = Vertex(op=op, inputs=inputs, name=name, ignore_cache=fresh)
        return self.made


def lower_files(op: pb.FileOp, inputs: Sequence[Vertex], *, fresh: bool) -> Mapping[int, Vertex]:
    """What the op gives, by output. Raises InvalidParameter, NotSupported."""
    chains: list[_Chain] = []
    outputs: dict[int, _Chain] = {}
    uses = _uses(op, len(inputs))

    def find(number: int) -> Vertex:
        if 0 <= number - len(inputs) < len(chains):
            return chains[number - len(inputs)].vertex(fresh)
        return input_of(inputs, number)

    for action in op.actions:
        before = action.input - len(inputs)
        if 0 <= before < len(chains) and uses[before] == 1 and chains[before].made is None:
            chain = chains[before]
        else:
            chain = _Chain(rooted(find(action.input)))
        copied = find(action.secondary_input) if action.WhichOneof("action") == "copy" else None
        if copied is not None:
            chain.others.append(copied)
        chain.actions.append(_action(action, len(chain.others)))
        chains.append(chain)
        if action.output >= 0:
            outputs[action.output] = chain
    return {index: chain.vertex(fresh) for index, chain in outputs.items()}


def _uses(op: pb.FileOp, inputs: int) -> list[int]:
    """How often what each action makes is used; outputs count twice, for they must stay as they are."""
    uses = [2 if action.output >= 0 else 0 for action in op.actions]
    for action in op.actions:
        used = [action.input]
        if action.WhichOneof("action") == "copy":
            used += [action.secondary_input] * 2
        for number in used:
            if 0 <= number - inputs < len(uses):
                uses[number - inputs] += 1
    return uses


def _action(action: pb.FileAction, number: int) -> Action:
    """`number`: of the input that a copy copies from."""
    kind = action.WhichOneof("action")
    if kind == "copy":
        return _copy(action.copy, number, action.input)
    if kind == "make_file":
        file = action.make_file
        return MkfileAction(
            path=_absolute(file.path),
            content=file.data,
            mode=_mode(file.mode),
            owner=_owner(file.owner, action.input),
            time_ns=_time(file.timestamp),
        )
    if kind == "make_directory":
        directory = action.make_directory
        return MkdirAction(
            path=_absolute(directory.path),
            mode=_mode(directory.mode),
            owner=_owner(directory.owner, action.input),
            parents=directory.parents,
            time_ns=_time(directory.timestamp),
        )
    if kind == "remove":
        removed = action.remove
        return RemoveAction(
            path=_absolute(removed.path), missing_ok=removed.allow_missing, wildcard=removed.wildcard
        )
    if kind == "symlink":
        link = action.symlink
        return SymlinkAction(
            path=_absolute(link.path),
            target=link.target,
            owner=_owner(link.owner, action.input),
            time_ns=_time(link.timestamp),
        )
    raise NotSupported("a file action of the definition is of a kind that is not supported")


def _copy(copy: pb.CopyFiles, number: int, base: int) -> CopyAction:
    if copy.replace or copy.required:
        raise NotSupported("a copy that replaces whatever is there, or requires paths, is not supported")
    source = _absolute(copy.source)
    # Only what is included: nothing, but for that.
    included = ("**", *(f"!{pattern}" for pattern in copy.include)) if copy.include else ()
    mode = f"{copy.mode & 0o7777:04o}" if copy.mode >= 0 else ""
    return CopyAction(
        input=number,
        sources=(source if copy.wildcard else escape_pattern(source),),
        destination=_absolute(copy.destination, keep_slash=True),
        owner=_owner(copy.owner, base),
        mode=copy.mode_text or mode,
        unpack=copy.unpack,
        exclude=(*included, *copy.exclude),
        contents=copy.contents_of_directory,
        follow=copy.follow_symlink,
        may_find_nothing=copy.empty_wildcard,
        time_ns=_time(copy.timestamp),
    )


def _absolute(path: str, *, keep_slash: bool = False) -> str:
    found = posixpath.normpath(f"/{path}")
    found = "/" + found.lstrip("/")
    last = path.rstrip("/").rpartition("/")[2]
    if keep_slash and (path.endswith("/") or last == ".") and found != "/":
        found += "/"
    return found


def _mode(mode: int) -> int:
    return from_go(mode & 0xFFFFFFFF) & 0o7777


def _time(timestamp: int) -> int | None:
    return timestamp if timestamp >= 0 else None


def _owner(owner: pb.Owner, base: int) -> str:
    """As --chown has it. Names are looked up in what is changed."""

    def text(who: pb.UserOrGroup) -> str:
        if who.WhichOneof("kind") == "name":
            if who.name.input != base:
                raise NotSupported("names of owners are looked up in what is changed, and nowhere else")
            return who.name.name
        return str(who.id) if who.WhichOneof("kind") == "id" else ""

    user, group = text(owner.user), text(owner.group)
    return f"{user}:{group}" if group else user


def _name(action: Action) -> str:
    if isinstance(action, CopyAction):
        return f"copy {' '.join(action.sources)} {action.destination}"
    return f"{msgspec.to_builtins(action)['type']} {action.path}"
