"""BuildKit's protocol over Corten's builder: what buildx, bake, compose and buildctl speak.

::

    POST /grpc ───► grpc ───────► control.py (Control)   ──┐
                                   bridge.py  (LLBBridge)  ─┴─► build.py ──► frontend.py ─► builder's solver
                                                                    │    └─► builder.export.exporters
                    (its NewContainer, ExecProcess: containers.py, processes.py)
    (a frontend in an image: gateway.py ─► bridge.py over the container's stdio)
    POST /build?version=2 ─► overhttp.py ─► a build as Control.Solve has it
    (HTTP/2 at once ─► the same, for buildctl)    LLB ─► lowering ─► builder's graph
    POST /session ─► sessions.py ◄── filesync.py, filesend.py, ◄────┘  we are the client here: the
                                     clientthings.py                   caller's files and credentials

A build, by its `ref`: the client opens Status(ref) and a session, calls Control.Solve (which lasts until
the end) and then either lets us run the Dockerfile frontend or drives it itself through LLBBridge; what it
Returns is solved and handed to the exporters. The messages are in `proto`.

What it owns on disk::

    <root>/builder/history/    the newest builds that have ended (`historyfiles`)
    <root>/tmp/context-*       clients' directories, kept from one build to the next (`keptcontexts`);
                               the next start of the engine empties tmp
"""
