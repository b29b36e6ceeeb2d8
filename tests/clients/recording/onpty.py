"""Run a command on a terminal of its own and talk to it: `onpty [EXPECT SEND]... -- COMMAND...`.

Waits for each EXPECT in the output, then types SEND (with \\n, \\x10 and the like interpreted); prints
everything that the command wrote and exits with its status. A conversation that never comes exits 99.
"""

import os
import pty
import select
import sys
import termios
import time

TIMEOUT_S = 20


def talk(fd: int, steps: list[tuple[bytes, bytes]]) -> tuple[bytes, bool]:
    """Everything read until the other side hangs up, and whether all steps were taken."""
    seen, fresh = b"", 0
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if steps and (at := seen.find(steps[0][0], fresh)) >= 0:
            fresh = at + len(steps[0][0])
            os.write(fd, steps.pop(0)[1])
            continue
        if not select.select([fd], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError:  # EIO: the last process on the terminal is gone
            data = b""
        if not data:
            return seen, not steps
        seen += data
    return seen, False


def main() -> None:
    split = sys.argv.index("--")
    words = [word.encode().decode("unicode_escape").encode("latin-1") for word in sys.argv[1:split]]
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[split + 1], sys.argv[split + 1 :])
    termios.tcsetwinsize(fd, (24, 80))
    seen, complete = talk(fd, list(zip(words[::2], words[1::2], strict=True)))
    sys.stdout.buffer.write(seen)
    sys.stdout.flush()
    if not complete:
        os.kill(pid, 9)
        sys.exit(99)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
