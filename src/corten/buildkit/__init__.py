"""BuildKit's protocol over Corten's builder: what buildx, bake, compose and buildctl speak.

::

    POST /grpc ────► served.py ──► control.py (Control)   ──┐
                                   bridge.py  (LLBBridge)  ─┼─► builds.py ──► builder's solver
                                   health.py, contents.py  ─┘        │
    POST /session ─► sessions.py ◄── filesync.py, filesend.py, ◄─────┘  we are the client here: the
                                     secrets.py, auth.py                caller's files and credentials

A build, by its `ref`: the client opens Status(ref) and a session, calls Control.Solve (which lasts until
the end) and then either lets us run the Dockerfile frontend or drives it itself through LLBBridge; what it
Returns is solved and handed to the exporters.

The messages are in `proto`. Owns nothing on disk; everything is the builder's and the image store's.
"""
