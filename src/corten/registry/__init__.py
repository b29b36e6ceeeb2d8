"""Speaking to registries: the OCI distribution protocol.

Owns nothing on disk; what it fetches, others verify and store.
"""
