import os
import signal
import subprocess
import sys

import pytest

from corten.linux.signalmask import deaf_to

SCRIPT = "import signal, sys; {}; print('ready', flush=True); sys.stdin.read()"


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "it ignores the signal"),
        ("signal.signal(signal.SIGTERM, print)", ""),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])", ""),
        ("pass", ""),  # the default action ends it
    ],
)
def test_what_a_process_does_with_a_signal(setting, why):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(setting)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    assert deaf_to(process.pid, signal.SIGTERM) == why
    process.communicate(b"")


def test_who_is_not_there():
    with pytest.raises(OSError, match="No such file"):
        deaf_to(2**22 + 1, signal.SIGTERM)
    assert deaf_to(os.getpid(), signal.SIGUSR2) == ""
