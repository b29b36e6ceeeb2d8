"""From an OCI runtime document to a running process: the heart of the runtime.

    request ──► launch.py    parent: cgroup, status channel, clone3
                   │
                   ▼ child
                init.py      join cgroup and namespaces, then the plan, then become the program
                   ├── rootfs.py        the document as a list of operations ...
                   ├── operations.py    ... each with describe() and apply()
                   ├── terminal.py      pseudo-terminal of the container's own devpts
                   ├── credentials.py   rlimits, capabilities, seccomp, uid and gid
                   └── program.py       find the program in the container's PATH, execve

`join.py` brings a further process into a running task (exec). Everything here runs in a single-threaded
process under `python -I -S` and is used by both `corten.supervisor` and `corten.oci_runtime`.
"""
