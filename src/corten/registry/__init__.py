"""Speaking to registries: the OCI distribution protocol.

`client` owns nothing on disk: what it fetches, others verify and store. `server` is a process of its own.
"""
