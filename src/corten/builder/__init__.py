"""The builder: from a Dockerfile and a context to an image.

How a build flows (each arrow is a module)::

    tar of POST /build ──context──► directory ──┐
    text ──dockerfile──► instructions ──convert──► graph of ops + image config
                                                     │
                     events ◄──── solver ◄── cache ──┘
                       │            ├── ops.run    ──► Executor (the engine's runtime)
    frontends.classic ─┤            └── ops.files  ──► worker process (mounts, dirfd work)
    frontends.trace ───┘

`builder.Builder` puts it together for POST /build. `corten.buildkit` has builds of its own over the same
graph, solver and cache. What becomes of a result is in `export`; what is attested of it, in `attest`.

What it owns on disk::

    <root>/builder/mounts/<id>/     one directory per `RUN --mount=type=cache`
    <root>/tmp/build-*              contexts and unfinished steps; emptied at start

What it never does: mount, fork or enter a namespace in the engine's process. The upperdir that a step
wrote *is* its diff: there is no comparing of trees. Instructions that change only the image's
configuration make no snapshot at all.

This file imports nothing, because worker processes import `corten.builder.jobs` through it.
"""
