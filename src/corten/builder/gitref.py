"""Names of git repositories, as contexts and ADD take them.

    https://host/repo.git#ref:subdir         git://... ssh://... git@host:repo
    https://host/repo.git?branch=b&subdir=d  github.com/user/repo (contexts only)

Queries: ref, tag, branch, subdir, checksum or commit, keep-git-dir, submodules (Dockerfile reference, ADD).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

from corten.builder.booleans import parse_bool
from corten.builder.credentials import redacted
from corten.builder.graph import GitSource
from corten.errors import InvalidParameter

_SCHEMES = ("http", "https", "ssh", "git")
_SCP = re.compile(r"[a-zA-Z0-9-_.]+@[a-zA-Z0-9-_.]+:(?P<path>[^#?]*)(\?[^#]*)?(#.*)?")
_SAFE_REF = re.compile(r"(?!-)[A-Za-z0-9_./@+=~^-]{1,512}")
_HEX = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRef:
    """A reference taken apart. `keep_git_dir`, `submodules` None: nothing said."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None

    def source(self, *, keep_git_dir: bool = False) -> GitSource:
        """The graph's operation; `keep_git_dir` if the reference says nothing."""
        return GitSource(
            remote=self.remote,
            ref=self.ref,
            subdir=self.subdir,
            checksum=self.checksum,
            keep_git_dir=keep_git_dir if self.keep_git_dir is None else self.keep_git_dir,
            submodules=self.submodules is not False,
        )


def parse_git_ref(text: str, *, context: bool = False) -> GitRef | None:
    """None if `text` names no git repository. Raises InvalidParameter for one that is named wrongly.

    `context`: also `github.com/user/repo`, which for ADD is a path.

    >>> parse_git_ref("https://host/repo.git#v1:sub")
    GitRef(remote='https://host/repo.git', ref='v1', subdir='sub', checksum='', keep_git_dir=None, submodules=None)
    """  # noqa: E501 - a dataclass' repr is one line
    if context and text.startswith("github.com/"):
        text = f"https://{text}"
        is_git = True
    else:
        scheme = text.partition("://")[0].lower() if "://" in text else ""
        path = urlsplit(text).path if scheme in _SCHEMES else ""
        is_git = scheme in ("ssh", "git") or (scheme in ("http", "https") and path.endswith(".git"))
        is_git = is_git or (not scheme and _SCP.fullmatch(text) is not None)
    if not is_git:
        return None
    location, _, fragment = text.partition("#")
    remote, _, query = location.partition("?")
    ref, _, subdir = fragment.partition(":")
    found = GitRef(remote=remote, ref=ref, subdir=_inside(subdir))
    return checked_git_ref(_with_query(found, parse_qs(query, keep_blank_values=True)))


def _with_query(found: GitRef, query: Mapping[str, list[str]]) -> GitRef:
    tag = branch = ""
    for key, values in query.items():
        if len(values) > 1:
            raise InvalidParameter(f'query "{key}" has multiple values')
        value = values[0]
        if key in ("keep-git-dir", "submodules"):
            flag = parse_bool(value) if value else True
            if flag is None:
                raise InvalidParameter(f'invalid {key} value: "{value}"')
            found = (
                replace(found, keep_git_dir=flag)
                if key == "keep-git-dir"
                else replace(found, submodules=flag)
            )
            continue
        if not value:
            raise InvalidParameter(f'query "{key}" has no value')
        if key == "ref":
            found = _with_ref(found, value)
        elif key == "tag":
            tag = value if value.startswith("refs/tags/") else f"refs/tags/{value}"
        elif key == "branch":
            branch = value if value.startswith("refs/heads/") else f"refs/heads/{value}"
        elif key == "subdir":
            if found.subdir not in ("", _inside(value)):
                raise InvalidParameter(f'subdir conflicts: "{found.subdir}" vs "{value}"')
            found = replace(found, subdir=_inside(value))
        elif key in ("checksum", "commit"):
            found = replace(found, checksum=value)
        else:
            raise InvalidParameter(f'unexpected query "{key}"')
    if tag and branch:
        raise InvalidParameter("branch conflicts with tag")
    return _with_ref(found, tag or branch) if tag or branch else found


def _with_ref(found: GitRef, ref: str) -> GitRef:
    if found.ref not in ("", ref):
        raise InvalidParameter(f'ref conflicts: "{found.ref}" vs "{ref}"')
    return replace(found, ref=ref)


def checked_git_ref(found: GitRef) -> GitRef:
    """Nothing in it may look like an option to git, or like a revision expression that leads elsewhere."""
    if found.ref and (not _SAFE_REF.fullmatch(found.ref) or ".." in found.ref):
        raise InvalidParameter(f"invalid git ref: {found.ref}")
    if found.checksum and not _HEX.fullmatch(found.checksum):
        raise InvalidParameter(f"invalid checksum: {found.checksum}")
    if found.remote.startswith("-") or any(char <= " " for char in found.remote):
        raise InvalidParameter(f"invalid git remote: {redacted(found.remote)}")
    return found


def _inside(subdir: str) -> str:
    return posixpath.normpath(posixpath.join("/", subdir)).lstrip("/")
