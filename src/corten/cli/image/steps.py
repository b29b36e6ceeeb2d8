"""What `corten build` shows of the engine's trace (`corten.trace` messages): BuildKit's progress.

Plain is for logs: every line begins with its step's number. On a terminal the steps are a list that is
redrawn in place, with the last lines of what runs. Everything goes to stderr; stdout is for results.
"""

from __future__ import annotations

import os
import time

from corten.cli.errors import ExitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TAIL_LINES = 6
_REDRAW_S = 0.1
_NS = 1_000_000_000
_MODES = ("auto", "none", "plain", "quiet", "rawjson", "tty")
QUIET = "quiet"


class Step:
    """A step as far as it has been told."""

    __slots__ = ("cached", "completed", "error", "lines", "name", "number", "partial", "parts", "started")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.started = self.completed = 0
        self.cached = False
        self.error = ""
        self.lines: list[str] = []
        self.partial = ""
        self.parts: dict[str, str] = {}

    def update(self, told: dict[str, Any]) -> None:
        """Take over what a vertex message says."""
        self.started, self.completed = int(told.get("started") or 0), int(told.get("completed") or 0)
        self.cached, self.error = bool(told.get("cached")), str(told.get("error") or "")

    def seconds(self, now: int) -> float:
        """How long it has taken, or takes so far."""
        return max(0, (self.completed or now) - self.started) / _NS if self.started else 0.0

    def take(self, text: str) -> list[str]:
        """The lines that output completes; half a line waits for the rest, or for the end."""
        *lines, self.partial = (self.partial + text).replace("\r\n", "\n").split("\n")
        self.lines = [*self.lines, *lines][-_TAIL_LINES:]
        return lines


class Failure:
    """What is shown once more when a build has failed."""

    __slots__ = ("excerpt", "log", "name")

    def __init__(self, told: dict[str, Any]) -> None:
        self.name = str(told.get("name") or "")
        self.log = [str(line) for line in told.get("log") or ()]
        self.excerpt = str(told.get("excerpt") or "")

    def text(self) -> str:
        """The step with its last lines, and where in the Dockerfile it stands."""
        text = ""
        if self.log:
            lines = "".join(f"{line}\n" for line in self.log)
            text = f"------\n > {self.name}:\n{lines}------\n"
        return text + self.excerpt


class Steps:
    """Collects a trace; subclasses show it."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._steps: dict[int, Step] = {}
        self.failure: Failure | None = None
        self._warnings: list[str] = []

    def take(self, told: dict[str, Any]) -> None:
        """One message of the trace."""
        if vertex := told.get("vertex"):
            step = self._steps.setdefault(
                int(vertex["id"]), Step(int(vertex["id"]), str(vertex.get("name") or ""))
            )
            was_started, was_completed = step.started, step.completed
            step.update(vertex)
            if step.started and not was_started:
                self.began(step)
            if step.completed and not was_completed:
                if step.partial:
                    self.wrote(step, step.take("\n"))
                self.ended(step)
        elif log := told.get("log"):
            step = self._steps[int(log["vertex"])]
            self.wrote(step, step.take(str(log.get("data") or "")))
        elif status := told.get("status"):
            step = self._steps[int(status["vertex"])]
            self.part(step, str(status["id"]), bool(status.get("done")))
        elif warning := told.get("warning"):
            self._warnings.append(f"{warning['rule']}: {warning['detail']} (line {warning['line']})")
        elif failure := told.get("failure"):
            self.failure = self.failure or Failure(failure)

    def began(self, step: Step) -> None:
        """A step has begun."""

    def wrote(self, step: Step, lines: list[str]) -> None:
        """A step has written whole lines."""

    def part(self, step: Step, name: str, done: bool) -> None:
        """Part of a step goes on or is done."""

    def ended(self, step: Step) -> None:
        """A step has ended."""

    def close(self) -> None:
        """Nothing more comes: show the warnings."""
        if self._warnings:
            found = "1 warning" if len(self._warnings) == 1 else f"{len(self._warnings)} warnings"
            lines = "".join(f" - {text}\n" for text in self._warnings)
            self.write(f"\n {found} found (corten build --check shows where):\n{lines}")

    def write(self, text: str) -> None:
        """Show text as it is."""
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._fd, data) :]


class Plain(Steps):
    """One line after the other; a step that is interrupted by another is named again."""

    def __init__(self, fd: int = 2) -> None:
        super().__init__(fd)
        self._current: Step | None = None
        self._seen: set[int] = set()

    def _select(self, step: Step) -> None:
        if self._current is step:
            return
        if self._current is not None:
            self.write(f"#{self._current.number} ...\n\n")
        self._current = step
        self.write(f"#{step.number} {step.name}\n")

    def began(self, step: Step) -> None:
        self._select(step)

    def wrote(self, step: Step, lines: list[str]) -> None:
        if lines:
            self._select(step)
        seconds = step.seconds(time.time_ns())
        self.write("".join(f"#{step.number} {seconds:.3f} {line}\n" for line in lines))

    def part(self, step: Step, name: str, done: bool) -> None:
        self._select(step)
        self.write(f"#{step.number} {name}{' done' if done else ''}\n")

    def ended(self, step: Step) -> None:
        self._select(step)
        if step.error:
            self.write(f"#{step.number} ERROR: {step.error}\n\n")
        elif step.cached:
            self.write(f"#{step.number} CACHED\n\n")
        else:
            self.write(f"#{step.number} DONE {step.seconds(0):.1f}s\n\n")
        self._current = None


class Terminal(Steps):
    """A list of steps, redrawn in place."""

    def __init__(self, fd: int = 2) -> None:
        super().__init__(fd)
        self._begun = time.time_ns()
        self._drawn_rows = 0
        self._drawn_at = 0.0

    def began(self, step: Step) -> None:
        self._draw()

    def wrote(self, step: Step, lines: list[str]) -> None:
        self._draw()

    def part(self, step: Step, name: str, done: bool) -> None:
        step.parts[name] = " done" if done else ""
        self._draw()

    def ended(self, step: Step) -> None:
        self._draw()

    def close(self) -> None:
        self._draw(finished=True)
        super().close()

    def _draw(self, *, finished: bool = False) -> None:
        now = time.monotonic()
        if not finished and now - self._drawn_at < _REDRAW_S:
            return
        self._drawn_at = now
        size = _size(self._fd)
        rows = self._rows(size.columns, finished)
        if not finished:
            rows = rows[:1] + rows[max(1, len(rows) - size.lines + 2) :]
        up = f"\x1b[{self._drawn_rows}A" if self._drawn_rows else ""
        self.write(f"\x1b[?25l{up}\r" + "".join(f"\x1b[2K{row}\n" for row in rows) + "\x1b[J\x1b[?25h")
        self._drawn_rows = len(rows)

    def _rows(self, columns: int, finished: bool) -> list[str]:
        now = time.time_ns()
        steps = [step for step in self._steps.values() if step.started]
        ended = sum(bool(step.completed) for step in steps)
        seconds = (now - self._begun) / _NS
        state = " FINISHED" if finished and self.failure is None else ""
        rows = [f"[+] Building {seconds:.1f}s ({ended}/{len(self._steps)}){state}"]
        for step in steps:
            label = "CACHED " if step.cached else "ERROR " if step.error else ""
            rows.append(_row(f" => {label}{step.name}", step.seconds(now), columns, step))
            if not finished or step.parts:
                rows += [
                    _row(f" => => {name}{done}", None, columns, step) for name, done in step.parts.items()
                ]
            if not step.completed:
                rows += [_row(f" => => # {line}", None, columns, step) for line in step.lines]
        return rows


def _row(text: str, seconds: float | None, columns: int, step: Step) -> str:
    ending = f" {seconds:5.1f}s" if seconds is not None else ""
    room = max(10, columns - len(ending) - 1)
    text = "".join(char if char.isprintable() else " " for char in text)[:room]
    row = f"{text:<{room}}{ending}" if ending else text
    color = "31" if step.error else "34" if step.completed else ""
    return f"\x1b[{color}m{row}\x1b[0m" if color else row


def _size(fd: int) -> os.terminal_size:
    try:
        return os.get_terminal_size(fd)
    except OSError:
        return os.terminal_size((80, 24))


class Quiet(Steps):
    """Shows nothing but what has failed."""

    def close(self) -> None:
        """No warnings either."""


def mode(asked: str, *, quiet: bool) -> str:
    """What `--progress` asks for, or BUILDKIT_PROGRESS if that leaves it open. Raises ExitError."""
    if quiet or asked == QUIET:
        if asked not in ("auto", "none", QUIET):
            raise ExitError(f"ERROR: progress={asked} and quiet cannot be used together")
        return QUIET
    if asked == "auto":
        asked = os.environ.get("BUILDKIT_PROGRESS") or asked
    if asked not in _MODES:
        raise ExitError(f"ERROR: invalid progress mode {asked}")
    return asked


def steps_for(mode: str) -> Steps:
    """The display of a mode; `auto` looks at stderr."""
    if mode in (QUIET, "none"):
        return Quiet()
    if mode == "rawjson":
        from corten.cli.image.rawsteps import RawJson

        return RawJson()
    if mode == "tty" or (mode == "auto" and os.isatty(2)):
        return Terminal()
    return Plain()
