"""`docker top`: the processes of a container.

The default columns are read from /proc; any other wish is one for ps(1), which is asked.
Source: behaviour and texts of dockerd 26.1; procps ps(1) for the columns of -ef.
"""

from __future__ import annotations

import asyncio
import pwd
import re
import time
from collections.abc import Sequence

from corten.errors import InternalError, InvalidParameter
from corten.linux import proctable
from corten.types.container import TopResponse

DEFAULT_ARGUMENTS = "-ef"
_TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
_USER_COLUMNS = 8
_RENAMED_PID = re.compile(r"\s+([^\s]*)=\s*(PID[^\s]*)")


async def processes(pids: Sequence[int], arguments: str) -> TopResponse:
    """What ps would print of these processes (host's numbers). Raises InvalidParameter, InternalError."""
    if arguments in ("", DEFAULT_ARGUMENTS):
        return await asyncio.to_thread(_default, pids)
    if match := _RENAMED_PID.search(arguments):
        raise InvalidParameter(f'specifying "{match[1]}={match[2]}" is not allowed')
    words = arguments.split()
    try:
        output = await _ps([*words, f"-q{','.join(map(str, pids))}"])
    except InternalError:  # some options do not go together with -q
        output = await _ps(words)
    return parse(output, frozenset(map(str, pids)))


def _default(pids: Sequence[int]) -> TopResponse:
    rows, now, booted = [], time.time(), proctable.booted_s()
    for pid in pids:
        try:
            rows.append(_row(proctable.read(pid, booted), now))
        except OSError:
            continue  # it has just ended
    return TopResponse(titles=_TITLES, processes=rows)


def _row(facts: proctable.ProcessFacts, now: float) -> list[str]:
    percent = int(100 * facts.cpu_s / max(1.0, now - facts.started_s))
    numbers = [str(facts.pid), str(facts.ppid), str(min(99, percent))]
    return [
        _user(facts.uid),
        *numbers,
        _start(facts.started_s, now),
        facts.tty,
        _duration(int(facts.cpu_s)),
        facts.command,
    ]


def _user(uid: int) -> str:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    return name if len(name) <= _USER_COLUMNS else name[: _USER_COLUMNS - 1] + "+"


def _start(started_s: float, now: float) -> str:
    """The time today, the day this year, or the year."""
    start, today = time.localtime(started_s), time.localtime(now)
    if start.tm_year != today.tm_year:
        return str(start.tm_year)
    return time.strftime("%H:%M" if start.tm_yday == today.tm_yday else "%b%d", start)


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days}-' if days else ''}{hours:02}:{minutes:02}:{seconds:02}"


async def _ps(arguments: list[str]) -> str:
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            "ps", *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
    except FileNotFoundError as e:
        raise InternalError('ps: exec: "ps": executable file not found in $PATH') from e
    output, problems = await process.communicate()
    if process.returncode:
        first = problems.decode(errors="replace").partition("\n")[0]
        raise InternalError(f"ps: {first or f'exit status {process.returncode}'}")
    return output.decode(errors="replace")


def parse(output: str, pids: frozenset[str]) -> TopResponse:
    """The lines of ps that are about these processes. Raises InternalError without a PID column."""
    header, *lines = output.splitlines() or [""]
    titles = header.split()
    if "PID" not in titles:
        raise InternalError("Couldn't find PID field in ps output")
    column, rows, ours = titles.index("PID"), [], False
    for line in lines:
        fields = line.split(None, len(titles) - 1)
        if len(fields) <= column:
            continue
        # With threads (-m, -L) the lines of a process's threads have "-" for its number.
        ours = ours if fields[column] == "-" else fields[column] in pids
        if ours:
            rows.append([*fields[:-1], fields[-1].rstrip()])
    return TopResponse(titles=titles, processes=rows)
