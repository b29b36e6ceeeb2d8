import subprocess
import sys

import pytest

pytestmark = pytest.mark.root

SCRIPT = """
import os, subprocess, threading
from corten.linux.priority import prefer_this_thread
prefer_this_thread(-3)
nice = lambda: seen.append(os.getpriority(os.PRIO_PROCESS, 0))
seen = []
nice()
thread = threading.Thread(target=nice)
thread.start()
thread.join()
seen.append(int(subprocess.check_output(["nice"])))
pid = os.fork()
if not pid:
    os._exit(os.getpriority(os.PRIO_PROCESS, 0))
seen.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(*seen)
"""


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        ([], "-3 0 0 0"),
        (["nice", "-n", "5"], "5 5 5 5"),
        (["chrt", "--batch", "0"], "0 0 0 0"),
        (["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice"], "0 0 0 0"),
    ],
    ids=["usually", "another value", "another policy", "not allowed"],
)
def test_only_the_thread_itself_is_preferred(command, seen):
    """Then the nice values of: it, a thread, a program, a fork."""
    found = subprocess.check_output([*command, sys.executable, "-c", SCRIPT], text=True)
    assert found.split() == seen.split()
