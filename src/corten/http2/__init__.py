"""HTTP/2 over streams of bytes that are open already (RFC 9113), either role, for gRPC and no more than that.

::

    RawStream ─► Connection.on_data ─► frames ─► Stream.on_headers, on_data, on_end, on_lost
        ▲                                                 │ credit (flow control: who has taken what came)
        └── Outbox ◄── frames ◄── Connection ◄── Stream.send_headers, write, finish, reset

What comes is acted on in callbacks; what is sent in one turn of the event loop leaves in one piece. There is
no push, no priorities and no upgrade: the API server has done that before.
"""
