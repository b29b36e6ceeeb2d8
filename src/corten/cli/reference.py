"""Image references as users write and see them: `busybox` is `docker.io/library/busybox:latest`."""

from __future__ import annotations

DEFAULT_DOMAIN = "docker.io"
INDEX_SERVER = "https://index.docker.io/v1/"


def split(text: str) -> tuple[str, str, str]:
    """Split into repository, tag and digest, each as written, empty if absent."""
    rest, _, digest = text.partition("@")
    head, slash, last = rest.rpartition("/")
    name, _, tag = last.partition(":")
    return head + slash + name, tag, digest


def domain(text: str) -> str:
    """The registry a reference belongs to."""
    first, slash, _ = split(text)[0].partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else DEFAULT_DOMAIN


def familiar(text: str) -> str:
    """The short form with its tag: `docker.io/library/busybox` becomes `busybox:latest`."""
    name, tag, digest = split(text)
    for prefix in ("index.docker.io/", "docker.io/"):
        name = name.removeprefix(prefix)
    name = name.removeprefix("library/")
    if digest:
        return f"{name}:{tag}@{digest}" if tag else f"{name}@{digest}"
    return f"{name}:{tag or 'latest'}"


def is_id(text: str) -> bool:
    """Whether it is an image's full id, which has no repository to pull from."""
    digits = text.removeprefix("sha256:")
    return len(digits) == 64 and all(c in "0123456789abcdef" for c in digits)
