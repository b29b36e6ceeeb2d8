"""How many builds there were, and what became of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from corten.builder.dockerfile.errors import DockerfileError

SYNTAX = "dockerfile_syntax_error"
COMMANDS = "error_processing_commands_error"
CANCELED = "build_canceled"
REASONS = (SYNTAX, COMMANDS, CANCELED)
"""Docker's names for why a build failed, those that we can tell apart."""


class BuildCounts:
    """Counted by `Builder` and BuildKit's builds."""

    def __init__(self) -> None:
        self.triggered = 0
        self.failed: Counter[str] = Counter()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the build that is done in a block."""
        self.triggered += 1
        try:
            yield
        except asyncio.CancelledError:
            self.failed[CANCELED] += 1
            raise
        except DockerfileError:
            self.failed[SYNTAX] += 1
            raise
        except Exception:
            self.failed[COMMANDS] += 1
            raise
