"""netd: the name server that containers on user-defined networks find at 127.0.0.11.

names     who is called what, and what a container may know of it
server    the sockets inside containers: questions in, answers out
forward   questions for others go to the host's name servers, or the container's own
process   the engine's requests, and the process's life

One process for all containers, standard library only. It holds the sockets inside the containers'
namespaces, so it goes on answering while the engine is away; an engine that comes back compares what it
knows with what is held here (`begin`, `join`, `serve`, `end`).
"""
