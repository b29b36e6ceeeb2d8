"""Starting an engine when a command of root's finds none: in the background, in a session of its own."""

from __future__ import annotations

import os
import sys
import time

from corten.cli.context import err
from corten.cli.errors import ExitError
from corten.client import jsontext
from corten.client.errors import NoEngine

SYSTEM_CONFIG = "/etc/corten/cli.json"
LOG_FILE = "/var/log/corten.log"
PATIENCE_S = 30.0
_POLL_S = 0.01

# the engine needs the packages beside ours: an interpreter with `site`, but without our working directory
ENGINE_COMMAND = (
    "-P",
    "-c",
    "import sys; sys.argv[0] = 'cortend'; from corten.daemon.main import main; sys.exit(main())",
)


def wanted(allowed: bool, config_folder: str) -> bool:
    """Whether to start one: `--no-autostart` and `"autostart": false` say no, and only root can."""
    if not allowed or os.geteuid() != 0:
        return False
    own = os.path.expanduser("~/.config/corten/config.json")
    return not any(_forbids(path) for path in (own, f"{config_folder}/config.json", SYSTEM_CONFIG))


def _forbids(path: str) -> bool:
    try:
        with open(path, encoding="utf-8") as f:
            return jsontext.loads(f.read()).get("autostart") is False
    except (OSError, ValueError, AttributeError):
        return False


def start(socket_path: str, log_file: str = LOG_FILE) -> None:
    """Start an engine and wait until its socket answers; says so on stderr. Raises ExitError."""
    err(f"corten: no engine is running; starting one in the background (log: {log_file})\n")
    process = _spawn(log_file)
    deadline = time.monotonic() + PATIENCE_S
    while not _answers(socket_path):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended and not _answers(socket_path):
            code = os.waitstatus_to_exitcode(status)
            raise ExitError(f"corten: the engine ended at once (exit code {code}); see {log_file}")
        if time.monotonic() > deadline:
            raise ExitError(
                f"corten: the engine does not answer after {PATIENCE_S:.0f} seconds; see {log_file}"
            )
        time.sleep(_POLL_S)


def _spawn(log_file: str) -> int:
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *ENGINE_COMMAND],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(log)


def _answers(socket_path: str) -> bool:
    from corten.client import address, transport

    try:
        transport.connect(address.Address(socket_path, path=socket_path)).close()
    except NoEngine:
        return False
    return True
