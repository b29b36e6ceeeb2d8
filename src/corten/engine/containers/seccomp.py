"""The kernel's system call filters for containers: compiled once for each profile and capability set."""

from __future__ import annotations

import functools

from corten.linux.seccomp.compiler import compile_filter
from corten.linux.seccomp.profile import default_filter, parse, resolve


class Profiles:
    """Implements `security.SeccompCompiler`."""

    def default(self, capabilities: frozenset[str]) -> bytes:
        """Docker's default profile."""
        return default_filter(capabilities)

    def profile(self, document: bytes, capabilities: frozenset[str]) -> bytes:
        """A user's own. Raises InvalidParameter, NotSupported."""
        return _compiled(document, capabilities)


@functools.lru_cache(maxsize=32)
def _compiled(document: bytes, capabilities: frozenset[str]) -> bytes:
    return compile_filter(resolve(parse(document), capabilities))
