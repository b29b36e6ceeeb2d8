"""Containers: from a create request to a removed directory.

    validate.py   is the request possible at all?          config.py   merged with the image's defaults
    mountpoints.py  binds, volumes, tmpfs → mount points   record.py   what the ledger keeps
    spec.py + process, mounts, resources, namespaces, security, users   record → OCI config.json
    store.py      index by id, name, prefix                state.py    what may happen in which state
    create.py  start.py  stop.py  pause.py  update.py  remove.py  restarts.py   what is done to them
    exits.py  wait.py  monitor.py  healthmonitor.py + probes   what happens to them, and who hears of it
    attach.py  execs.py  files.py  commit.py  stats.py  top.py   what is asked of running ones
    listing.py  inspect.py  describe.py   how they are shown
    networking.py  connections.py  links.py  hostfiles.py   their networks, and the files that tell of them
    logconfig.py  logserver.py  logtags.py   where their output goes
    service.py    all of it as one service                 restore.py  after a start of the engine

Owns <root>/containers/<id>/ (upper and work through the snapshotter's overlay; the log's directory) and
<exec-root>/containers/<id>/ (hosts, hostname, resolv.conf). Never waits for a disk on the path
create → start → wait → remove.
"""
