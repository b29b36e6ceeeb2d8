"""Image references: `[domain/]path[:tag][@digest]`, parsed and normalised as Docker does.

    >>> str(parse_normalized("busybox"))
    'docker.io/library/busybox'
    >>> parse_normalized("docker.io/library/busybox").with_default_tag().familiar
    'busybox:latest'
    >>> parse_normalized("localhost:5000/a/b@sha256:" + "0" * 64).domain
    'localhost:5000'

Source: github.com/distribution/reference, grammar in the package documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from corten.digest import Digest, InvalidDigest, parse_digest
from corten.errors import InvalidParameter

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_NAME_MAX = 255
_REMEMBERED = 256  # names: a build or a pull asks for the same ones again and again

# Grammar of distribution/reference; `(?a:...)` keeps \w to ASCII.
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_PART}(?:/{_PATH_PART})*"
_TAG = r"(?a:\w[\w.-]{0,127})"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_TAG_ONLY = re.compile(_TAG)


_PATH_ONLY = re.compile(_PATH)


def is_repository_path(text: str) -> bool:
    """Whether `text` may name a repository inside of a registry."""
    return len(text) <= _NAME_MAX and _PATH_ONLY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether `text` may be a tag."""
    return _TAG_ONLY.fullmatch(text) is not None


class InvalidReference(InvalidParameter):
    """The text does not name an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A fully qualified image name; `tag` and `digest` are None where none was given."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Domain and path: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as users write it: without the default domain and `library/`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return short if "/" not in short else self.path

    @property
    def familiar(self) -> str:
        """The reference as users write it, with tag and digest if it has them."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return tag + digest

    @property
    def is_name_only(self) -> bool:
        """Whether neither tag nor digest was given."""
        return self.tag is None and self.digest is None

    def with_default_tag(self) -> Reference:
        """The same with `:latest` if it has neither tag nor digest."""
        if not self.is_name_only:
            return self
        return Reference(domain=self.domain, path=self.path, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The same name under another tag, without digest. Raises InvalidReference."""
        if not is_tag(tag):
            raise InvalidReference("invalid tag format")
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same name pinned to a digest, without tag."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        return self.name + self._suffix


@lru_cache(maxsize=_REMEMBERED)
def parse_normalized(text: str) -> Reference:
    """The image that a user means by `text`. Raises InvalidReference with Docker's words."""
    if _IDENTIFIER.fullmatch(text):
        raise InvalidReference(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, remainder = _split_domain(text)
    remote = remainder.partition("@")[0].partition(":")[0]
    if remote.lower() != remote:
        raise InvalidReference(f"invalid reference format: repository name ({remote}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidReference("invalid reference format")
    if len(match["domain"]) + 1 + len(match["path"]) > _NAME_MAX:
        raise InvalidReference(f"repository name must not be more than {_NAME_MAX} characters")
    digest = match["digest"]
    return Reference(
        domain=match["domain"],
        path=match["path"],
        tag=match["tag"],
        digest=_checked_digest(digest) if digest is not None else None,
    )


def shown_image(text: str) -> str:
    """The whole name of the image that a user means by `text`, or the text itself if it is none."""
    try:
        return str(parse_normalized(text).with_default_tag())
    except InvalidReference:
        return text


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    looks_like_host = any(c in first for c in ".:") or first == "localhost" or first.lower() != first
    if not slash or not looks_like_host:
        domain, remainder = DEFAULT_DOMAIN, text
    else:
        domain, remainder = first, rest
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder


def _checked_digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except InvalidDigest as e:
        raise InvalidReference(str(e)) from e
