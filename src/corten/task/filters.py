"""Seccomp filters that come compiled, in files."""

from __future__ import annotations


class SeccompCache:
    """Compiled programs by path: the engine writes each once, we read each once."""

    __slots__ = ("_programs",)

    def __init__(self) -> None:
        self._programs: dict[str, bytes] = {}

    def get(self, path: str | None) -> bytes | None:
        """The program stored at `path`; None for None."""
        if not path:
            return None
        program = self._programs.get(path)
        if program is None:
            with open(path, "rb") as f:
                program = self._programs[path] = f.read()
        return program
