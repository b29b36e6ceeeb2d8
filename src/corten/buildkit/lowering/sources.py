"""SourceOp: images, clients' directories, git repositories, URLs, results of other builds of ours."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import partial
from urllib.parse import unquote, urlsplit

import msgspec

from corten.builder.gitref import GitRef, checked_git_ref
from corten.builder.graph import GitSource, HttpSource, ImageSource, LocalSource, Vertex
from corten.builder.results import Directory
from corten.builder.sources import no_credentials
from corten.buildkit.baseimages import ProgressImages
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.exchange import SCHEME
from corten.buildkit.filesync import Wanted, fetch_directory
from corten.buildkit.ocilayouts import LayoutPlace
from corten.buildkit.proto import llb_pb2 as pb
from corten.buildkit.workbench import Workbench
from corten.digest import digest_of, parse_digest
from corten.errors import InvalidParameter, NotSupported
from corten.platforms import Platform, normalized
from corten.snapshots.uppers import is_small
from corten.types.progress import JSONMessage

_LOCAL = {
    "local.session",
    "local.unique",
    "local.includepattern",
    "local.followpaths",
    "local.excludepatterns",
    "local.sharedkeyhint",
    "local.differ",
}
_GIT = {
    "git.fullurl",
    "git.keepgitdir",
    "git.checksum",
    "git.skipsubmodules",
    "git.authtokensecret",
    "git.authheadersecret",
    "git.knownsshhosts",
    "git.mountsshsock",
}
_IMAGE = {"image.resolvemode", "image.recordtype", "image.layerlimit", "image.checksum"}
_HTTP = {"http.checksum", "http.filename"}
_DEFAULT_SECRETS = {"git.authtokensecret": "GIT_AUTH_TOKEN", "git.authheadersecret": "GIT_AUTH_HEADER"}


class Sources:
    """The sources of one build's definitions."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._images = ProgressImages(bench.images, bench.progress, ClientThings(bench.client))
        self._locals: dict[str, Vertex] = {}

    async def lower(self, source: pb.SourceOp, platform: pb.Platform | None) -> Vertex:
        """Raises InvalidParameter, NotSupported, and what looking up an image raises."""
        identifier = source.identifier
        attributes = dict(source.attrs)
        if identifier.startswith(SCHEME):
            return await self._bench.exchange.take(identifier)
        scheme, separator, rest = identifier.partition("://")
        if not separator:
            raise InvalidParameter(f"invalid source {identifier!r}")
        if scheme == "docker-image":
            _check(attributes, _IMAGE)
            return await self._image(identifier, rest, attributes, platform)
        if scheme == "oci-layout":
            _check(attributes, {"oci.session", "oci.store", "oci.layerlimit"})
            found = await self._bench.layouts.open(
                self._bench.client, LayoutPlace.of(rest, attributes), _platform(platform)
            )
            return Vertex(op=ImageSource(diff_ids=found.diff_ids), name=identifier)
        if scheme == "local":
            _check(attributes, _LOCAL)
            return self._local(rest, attributes)
        if scheme == "git":
            _check(attributes, _GIT)
            return _git(identifier, rest, attributes)
        if scheme in ("http", "https"):
            _check(attributes, _HTTP)
            return _http(identifier, attributes)
        raise NotSupported(f"sources of the scheme {scheme} are not supported")

    async def _image(
        self,
        identifier: str,
        reference: str,
        attributes: Mapping[str, str],
        platform: pb.Platform | None,
    ) -> Vertex:
        if attributes.get("image.checksum"):
            raise NotSupported("image.checksum is not supported: name the image by its digest")
        found = await self._images.resolve(
            reference,
            platform=_platform(platform),
            pull=attributes.get("image.resolvemode") == "pull",
            credentials=no_credentials,
            on_progress=_silent,
        )
        limit = attributes.get("image.layerlimit", "")
        diff_ids = found.diff_ids[: int(limit)] if limit.isdecimal() else found.diff_ids
        return Vertex(op=ImageSource(diff_ids=diff_ids), name=identifier)

    def _local(self, name: str, attributes: Mapping[str, str]) -> Vertex:
        """A directory of the client's, fetched when it is needed; the same however often it is named."""
        session = attributes.get("local.session", "")
        if session and session != self._bench.client.id:
            raise NotSupported("directories of other sessions are not supported")
        self._bench.session.materials.directories.add(name)
        known = digest_of(msgspec.json.encode([name, sorted(attributes.items())]))
        vertex = self._locals.get(known)
        if vertex is None:
            key = self._bench.session.new_directory("local", mode=0o755)
            vertex = self._locals[known] = Vertex(op=LocalSource(key=key), name=f"local://{name}")
            self._bench.session.fetched[key] = partial(self._fetch, key, vertex, name, attributes)
        return vertex

    async def _fetch(
        self, directory: str, vertex: Vertex, name: str, attributes: Mapping[str, str]
    ) -> Directory:
        step = self._bench.progress.step(vertex.digest, vertex.name)
        tree = await fetch_directory(
            self._bench.client,
            directory,
            Wanted(
                name=name,
                include=_texts(attributes, "local.includepattern"),
                exclude=_texts(attributes, "local.excludepatterns"),
                follow=_texts(attributes, "local.followpaths"),
            ),
            workers=self._bench.workers,
        )
        step.status(f"transferring {name}:", current=tree.received_bytes, done=True)
        return Directory(directory, small=is_small(directory))


def _git(identifier: str, rest: str, attributes: Mapping[str, str]) -> Vertex:
    for attribute, only in _DEFAULT_SECRETS.items():
        if attributes.get(attribute, only) != only:
            raise NotSupported(f"{attribute}: only the secret {only} is asked for")
    remote, _, fragment = rest.partition("#")
    ref, _, subdir = fragment.partition(":")
    found = GitRef(
        remote=attributes.get("git.fullurl") or f"https://{remote}",
        ref=ref,
        subdir=posixpath.normpath(f"/{subdir}").lstrip("/"),
        checksum=attributes.get("git.checksum", ""),
    )
    scheme = found.remote.partition("://")[0]
    if "://" in found.remote and scheme not in ("http", "https", "ssh", "git"):
        raise InvalidParameter(f"unsupported git remote of the scheme {scheme}")
    checked = checked_git_ref(found)
    source = GitSource(
        remote=checked.remote,
        ref=checked.ref,
        subdir=checked.subdir,
        checksum=checked.checksum,
        keep_git_dir=attributes.get("git.keepgitdir") == "true",
        submodules=attributes.get("git.skipsubmodules") != "true",
    )
    return Vertex(op=source, name=identifier)


def _http(url: str, attributes: Mapping[str, str]) -> Vertex:
    filename = (
        attributes.get("http.filename") or posixpath.basename(unquote(urlsplit(url).path)) or "download"
    )
    if filename in (".", "..") or "/" in filename or "\0" in filename:
        raise InvalidParameter(f"invalid file name {filename!r}")
    checksum = attributes.get("http.checksum", "")
    op = HttpSource(url=url, filename=filename, checksum=parse_digest(checksum) if checksum else "")
    return Vertex(op=op, name=url)


def _check(attributes: Mapping[str, str], known: set[str]) -> None:
    for name in attributes:
        if name not in known:
            raise NotSupported(f"the source's attribute {name} is not supported")


def _texts(attributes: Mapping[str, str], name: str) -> list[str]:
    text = attributes.get(name, "")
    if not text:
        return []
    try:
        return msgspec.json.decode(text, type=list[str] | None) or []
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"invalid {name}: {error}") from error


def _platform(platform: pb.Platform | None) -> Platform | None:
    if platform is None or not platform.architecture:
        return None
    return normalized(platform.os or "linux", platform.architecture, platform.variant)


def _silent(message: JSONMessage) -> None:
    """Pulls are told by ProgressImages."""
