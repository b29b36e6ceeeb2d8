"""gRPC over HTTP/2, both ends of it: clients call us, and over their sessions we call them.

Source: grpc/grpc, doc/PROTOCOL-HTTP2.md.
"""
