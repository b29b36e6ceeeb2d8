"""What a process does with a signal: the masks of /proc/PID/status (proc_pid_status(5))."""

from __future__ import annotations


def deaf_to(pid: int, number: int) -> str:
    """Why the process will not hear a signal; "" if it will, or perhaps will. Raises OSError if it is gone.

    A blocked signal may still be taken by sigwait(3) or a signalfd, so that says nothing.
    """
    fields = {}
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            fields[name] = value.split()
    bit = 1 << (number - 1)
    if int(fields["SigBlk"][0], 16) & bit or int(fields["SigCgt"][0], 16) & bit:
        return ""
    if int(fields["SigIgn"][0], 16) & bit:
        return "it ignores the signal"
    inner = fields.get("NSpid", [])
    if len(inner) > 1 and inner[-1] == "1":
        return "it has no handler for the signal and is the first process of its pid namespace"
    return ""
