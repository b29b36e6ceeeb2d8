"""The Engine API over HTTP/1.1: server, routes, versions, one error path.

    server ─ connection (parse, keep-alive, limits) ─ router ─ routes/<resource> ─ the engine's services
                 └ hijack ─ relay (raw streams)          └ versions (older clients)   └ errors ─ status

Handlers speak only the newest documents (`corten.types`); each module of `routes` holds the Protocol of
the service it needs. Nothing here touches the disk or the kernel, except for relaying fds.
"""
