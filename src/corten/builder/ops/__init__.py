"""What vertices do. `run` executes commands; `files`, `fetch` and `git` have worker processes do the work.

In a worker (started by `corten.builder.jobs`), blocking, below directory fds only: `target` is the root that
a step changes, mounted privately, `glob` finds sources, `contenthash` names what they hold, `copying` and
`simple` change the root, with `linking` instead of copying where it is possible (then `recordedtar` knows the
layer's digest), `owner` and `mode` read --chown and --chmod.
"""
