"""What /proc says of a process (proc(5)), for lists of processes."""

from __future__ import annotations

import os
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """One process. command: arguments, or the name in brackets of one without; whatever it wrote there.

    cpu_s: user and system time. started_s: seconds since 1970. tty: "pts/0", "tty1", "?" for none.
    """

    pid: int
    ppid: int
    uid: int
    cpu_s: float
    started_s: float
    tty: str
    command: str


def read(pid: int, booted_s: float) -> ProcessFacts:
    """Facts of a process as our own pid namespace numbers it. Raises OSError if it is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        uid = os.fstat(file.fileno()).st_uid
        stat = file.read().decode(errors="replace")
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        arguments = file.read().rstrip(b"\0")
    name = stat[stat.index("(") + 1 : stat.rindex(")")]  # the name itself may hold brackets
    fields = stat[stat.rindex(")") + 2 :].split()
    command = arguments.replace(b"\0", b" ").decode(errors="replace") if arguments else f"[{name}]"
    return ProcessFacts(
        pid=pid,
        ppid=int(fields[1]),
        uid=uid,
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        started_s=booted_s + int(fields[19]) / _TICKS,
        tty=_tty(int(fields[4])),
        command=_printable(command),
    )


def booted_s() -> float:
    """When the machine was started, in seconds since 1970. Raises OSError."""
    with open("/proc/stat") as file:
        for line in file:
            if line.startswith("btime "):
                return float(line.split()[1])
    raise OSError("/proc/stat has no btime")


def _tty(number: int) -> str:
    """Device numbers of Documentation/admin-guide/devices.txt."""
    major, minor = os.major(number), os.minor(number)
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return "console" if (major, minor) == (5, 1) else "?"


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
