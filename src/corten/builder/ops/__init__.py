"""What vertices do. `run` executes commands; the rest works on trees of files, in worker processes.

In a worker (started by `corten.builder.jobs`), blocking, below directory fds only:
`overlay` mounts a snapshot privately, `glob` finds sources, `contenthash` names what they hold,
`copying` copies them, `owner` and `mode` read --chown and --chmod.
"""
