"""relay: passes on what comes to published ports of the mode "socket".

streams     TCP: the kernel moves the bytes (splice(2)), here is only decided which way
datagrams   UDP: a socket towards the container for each client
process     the engine's requests, and the process's life

One process for all containers, standard library only. It holds the listening sockets, so that connections
come and go on while the engine is away; an engine that comes back compares what it knows with what is held
here (`begin`, `listen`, `end`), and fetches the sockets (`fetch`).
"""
