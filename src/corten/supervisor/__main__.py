"""Entry point under `python -I -S <folder>`: put the package on sys.path, then run the role asked for."""

import sys


def _run() -> None:
    folder = sys.path[0]
    sys.path[0] = folder.rsplit("/", 2)[0]
    role, exec_root = sys.argv[1], sys.argv[2]
    if role == "supervisor":
        from corten.supervisor import supervisor

        supervisor.main(exec_root, int(sys.argv[4]) if len(sys.argv) > 4 else -1)
    elif role == "check":
        from corten.supervisor import handover, supervisor  # all that a supervisor imports

        handover.check(0)
    elif role == "log-writer":
        from corten.supervisor import log_writer

        log_writer.main(exec_root, listen_fd=3)
    elif role == "janitor":
        from corten.supervisor import janitor

        janitor.main(exec_root, listen_fd=3)
    elif role == "netd":
        from corten.supervisor.netd import process

        process.main(exec_root, listen_fd=3)
    elif role == "relay":
        from corten.supervisor.relay import process as relay

        relay.main(exec_root, listen_fd=3)
    else:
        sys.exit(f"unknown role {role!r}")


_run()
