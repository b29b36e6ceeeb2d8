"""Containers: from a create request to a removed directory.

    validate.py   is the request possible at all?          config.py   merged with the image's defaults
    mountpoints.py  binds, volumes, tmpfs → mount points   record.py   what the ledger keeps
    spec.py + process, mounts, resources, namespaces, security, users   record → OCI config.json
    store.py      index by id, name, prefix                state.py    what may happen in which state
    lifecycle.py  create, start, stop, kill, remove, exits wait.py     who waits for what
    attach.py  execs.py  listing.py  inspect.py  restore.py

Owns <root>/containers/<id>/ (upper and work through the snapshotter's overlay; the log's directory) and
<exec-root>/containers/<id>/ (hosts, hostname, resolv.conf). Never waits for a disk on the path
create → start → wait → remove.
"""
